#include "model/json.h"

#include "base/limits.h"
#include "base/mapped_file.h"

dr_status dr_json_read(json_t **out, const char *path, dr_error *err)
{
    dr_mapped_file file;
    json_error_t parse_error;
    dr_status rc;

    *out = NULL;
    rc = dr_mapped_file_open(&file, path, DR_JSON_BYTES_MAX, err);
    if (rc)
        return rc;
    *out = json_loadb((const char *)file.data, file.bytes, JSON_REJECT_DUPLICATES, &parse_error);
    dr_mapped_file_close(&file);
    if (!*out)
        return dr_fail(err, DR_EFORMAT, "%s: %s (line %d, column %d)", path, parse_error.text,
                       parse_error.line, parse_error.column);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return dr_fail(err, DR_EFORMAT, "%s: not a JSON object", path);
    }
    return DR_OK;
}
