/* sampler_file.h - a scheduler_config.json alone.
 *
 * In a model's folder, model_index.json names the class of the scheduler.  Here the file's own _class_name
 * names it. */
#ifndef DR_TESTS_MODEL_SAMPLER_FILE_H
#define DR_TESTS_MODEL_SAMPLER_FILE_H

#include "model/config_parts.h"

/* Fill *out from the file at `path`.  DR_EFORMAT: its _class_name is no text.  Else fails like
 * dr_sampler_config_parse(). */
static inline dr_status sampler_file_read(dr_sampler_config *out, const char *path, dr_error *err)
{
    json_t *root = NULL;
    dr_status rc = dr_json_read(&root, path, err);
    const char *class_name = json_string_value(json_object_get(root, "_class_name"));

    if (!rc && !class_name)
        rc = dr_fail(err, DR_EFORMAT, "%s: it names no class", path);
    if (!rc)
        rc = dr_sampler_config_parse(out, path, root, class_name, err);
    json_decref(root);
    return rc;
}

#endif
