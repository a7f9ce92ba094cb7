/* model.h - what a loaded model consists of, for the files of model/ that run it.
 * Programs include model/darkroom.h. */
#ifndef DR_MODEL_MODEL_H
#define DR_MODEL_MODEL_H

#include "model/config.h"
#include "model/darkroom.h"
#include "model/text_encoder.h"
#include "model/tokenizer.h"
#include "model/unet.h"
#include "model/vae.h"

struct dr_model {
    dr_device *device;
    dr_model_config config;
    dr_model_info info;
    dr_tokenizer *tokenizer;
    dr_text_encoder *text_encoder;
    dr_unet *unet;
    dr_vae *vae;
};

#endif
