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

/* As dr_model_open(), with the folder's configs and with weights that are drawn from a seed: no weight files are needed.
 * Benchmarks and tests of the real shapes use it. */
dr_status dr_model_open_random(dr_model **out, dr_device *device, const char *folder, uint64_t seed,
                               dr_error *err);

/* The fingerprint that a folder's model has, read from its files and without loading it. */
dr_status dr_model_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, dr_error *err);

/* Can this folder be a model, as far as all its files but the values of its weights say?  Fails as dr_model_open() would.
 * *config is of the folder where it can. */
dr_status dr_model_check(dr_model_config *config, const char *folder, dr_error *err);

#endif
