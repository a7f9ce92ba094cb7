/* config_parts.h - what the readers of the parts' configs share.  Only model/config*.c use this.
 *
 * Unknown keys are ignored, as diffusers does: the parts' classes have had many that mean nothing now.
 * A key that the class knows is read, or refused unless its value means what we do anyway. */
#ifndef DR_MODEL_CONFIG_PARTS_H
#define DR_MODEL_CONFIG_PARTS_H

#include "model/config.h"
#include "model/json.h"

typedef struct dr_config_only {
    const char *key, *values; /* as dr_json_only() takes them */
} dr_config_only;

/* `only` ends with a NULL key. */
void dr_config_only_these(dr_json *j, const dr_config_only *only);

/* "sample_size": height and width, or one number for both. */
void dr_config_sample_size(dr_json *j, int otherwise, int to[2]);

/* `root` is what `path` holds. */
dr_status dr_text_encoder_config_parse(dr_text_encoder_config *out, const char *path, json_t *root,
                                       dr_error *err);
dr_status dr_unet_config_parse(dr_unet_config *out, const char *path, json_t *root, dr_error *err);
dr_status dr_vae_config_parse(dr_vae_config *out, const char *path, json_t *root, dr_error *err);

/* class_name NULL: the file's own _class_name. */
dr_status dr_sampler_config_parse(dr_sampler_config *out, const char *path, json_t *root,
                                  const char *class_name, dr_error *err);

#endif
