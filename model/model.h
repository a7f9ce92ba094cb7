/* model.h - what a loaded model consists of, for the files of model/ that run it.
 * Programs include <darkroom/darkroom.h>. */
#ifndef DR_MODEL_MODEL_H
#define DR_MODEL_MODEL_H

#include "model/config.h"
#include "model/fingerprint.h"
#include "model/text_encoder.h"
#include "model/tokenizer.h"
#include "model/unet.h"
#include "model/vae.h"

#include <darkroom/darkroom.h>

struct dr_model {
    dr_device *device;
    dr_model_config config;
    dr_model_info info;
    dr_tokenizer *tokenizer;
    dr_text_encoder *text_encoder;
    dr_unet *unet;
    dr_vae *vae;
};

/* Like dr_model_open(), but the weights are drawn from a seed, so the folder needs configs and a tokenizer
 * only.  For benchmarks and tests of the published shapes. */
dr_status dr_model_open_random(dr_model **out, dr_device *device, const char *folder, uint64_t seed,
                               dr_error *err);

/* The fingerprint of a folder's model, read from its files without loading it.  On failure hex is "".  Any
 * thread may call. */
dr_status dr_model_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, dr_error *err);

/* Check a folder like dr_model_open(), but for the values of its weights, and without a device.  On
 * success *config is what the folder's configs say.  Fails like dr_model_open().  Any thread may call. */
dr_status dr_model_check(dr_model_config *config, const char *folder, dr_error *err);

#endif
