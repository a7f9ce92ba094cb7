#include "model/config_keys.h"

#include "base/limits.h"

void dr_config_only_these(dr_json *j, const dr_config_only *only)
{
    for (; only->key; only++)
        dr_json_only(j, only->key, only->values);
}

void dr_config_sample_size(dr_json *j, int otherwise, int to[2])
{
    dr_json_ints(j, "sample_size", otherwise, 1, DR_SIDE_MAX, to, 2);
}
