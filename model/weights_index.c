#include "model/weights_index.h"

#include "model/json.h"

#include <string.h>

/* Is this a plain file name, so that the file is in the index' folder? */
static bool is_plain_name(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static dr_status add_shard(dr_weights_index *index, const char *path, const char *tensor, const char *shard,
                           dr_error *err)
{
    for (size_t i = 0; i < index->count; i++)
        if (!strcmp(index->shards[i], shard))
            return DR_OK;
    if (!is_plain_name(shard))
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': shard '%s' must be a file name without a path",
                       path, tensor, shard);
    if (index->count == DR_SHARDS_MAX)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: more than %u shards", path, DR_SHARDS_MAX);
    index->shards[index->count++] = shard;
    return DR_OK;
}

static dr_status collect_shards(dr_weights_index *index, const char *path, dr_error *err)
{
    const char *tensor;
    json_t *shard;

    index->weight_map = json_object_get(index->root, "weight_map");
    if (!json_is_object(index->weight_map) || json_object_size(index->weight_map) == 0)
        return dr_fail(err, DR_EFORMAT, "%s: weight_map is missing, empty or not an object", path);
    json_object_foreach(index->weight_map, tensor, shard)
    {
        dr_status rc;
        if (!json_is_string(shard))
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': its shard is not a string", path, tensor);
        rc = add_shard(index, path, tensor, json_string_value(shard), err);
        if (rc)
            return rc;
    }
    return DR_OK;
}

dr_status dr_weights_index_read(dr_weights_index *out, const char *path, dr_error *err)
{
    dr_weights_index index = { 0 };
    dr_status rc;

    memset(out, 0, sizeof(*out));
    rc = dr_json_read(&index.root, path, err);
    if (!rc)
        rc = collect_shards(&index, path, err);
    if (rc)
        dr_weights_index_free(&index);
    else
        *out = index;
    return rc;
}

void dr_weights_index_free(dr_weights_index *index)
{
    json_decref(index->root);
    memset(index, 0, sizeof(*index));
}
