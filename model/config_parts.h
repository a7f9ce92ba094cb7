/* config_parts.h - the config of one part of a model.  model/config_keys.h says the order of these files.
 *
 * A key that the part's class does not know is ignored, as diffusers does: the classes have had many keys
 * that mean nothing now.  A key that the class knows is read; or, where Darkroom does one thing only,
 * every value that means another thing is refused. */
#ifndef DR_MODEL_CONFIG_PARTS_H
#define DR_MODEL_CONFIG_PARTS_H

#include "model/config.h"
#include "model/json.h"

/* Each fills *out from `root`, the object that the file at `path` holds; both are borrowed, and path is
 * for messages.  DR_EFORMAT: a value of the wrong type or out of range.  DR_EUNSUPPORTED: a value that
 * Darkroom does not do.  The error names file, key and value. */
dr_status dr_text_encoder_config_parse(dr_text_encoder_config *out, const char *path, json_t *root,
                                       dr_error *err);
dr_status dr_unet_config_parse(dr_unet_config *out, const char *path, json_t *root, dr_error *err);
dr_status dr_vae_config_parse(dr_vae_config *out, const char *path, json_t *root, dr_error *err);

/* The same.  class_name is the scheduler's class in model_index.json, which counts more than the file's own,
 * as in diffusers.  A value that only some samplers read and that Darkroom does not do is no failure:
 * out->refused says it for those samplers. */
dr_status dr_sampler_config_parse(dr_sampler_config *out, const char *path, json_t *root,
                                  const char *class_name, dr_error *err);

#endif
