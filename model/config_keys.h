/* config_keys.h - keys that the configs of several parts have.
 *
 * The order of these files, the lowest first; each calls only those before it:
 *
 *     json.h           one value of a JSON file
 *     config_keys.h    keys that several parts share
 *     config_parts.h   one part's file: config_text_encoder.c, config_unet.c, config_vae.c, config_sampler.c
 *     config.h         a whole model folder */
#ifndef DR_MODEL_CONFIG_KEYS_H
#define DR_MODEL_CONFIG_KEYS_H

#include "model/json.h"

/* A key, and the values that mean what Darkroom does anyway, as dr_json_only() takes them. */
typedef struct dr_config_only {
    const char *key, *values;
} dr_config_only;

/* Fail where one of the keys is there with another value: dr_json_only() of each row.  `only` ends with a
 * NULL key. */
void dr_config_only_these(dr_json *j, const dr_config_only *only);

/* "sample_size": to[0] is the height, to[1] the width.  The file has a list of both, or one number for
 * both; `otherwise` stands for both where the key is missing. */
void dr_config_sample_size(dr_json *j, int otherwise, int to[2]);

#endif
