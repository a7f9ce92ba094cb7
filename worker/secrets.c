#include "worker/secrets.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool dr_secret_key(const char *key)
{
    static const char *const words[] = { "password", "secret", ".pem", "oauthbearer.config" };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strstr(key, words[i]))
            return true;
    return false;
}

size_t dr_secret_file_key(const char *key)
{
    static const char suffix[] = "file";                 /* after a dot or an underscore */
    const size_t n = strlen(key), tail = sizeof(suffix); /* with that character */

    if (n <= tail || strcmp(key + n - tail + 1, suffix) != 0 || !strchr("._", key[n - tail]))
        return 0;
    return dr_secret_key(key) ? n - tail : 0;
}

/* Without the last line end, in place. */
static void strip_line_end(char *text, size_t *size)
{
    if (*size > 0 && text[*size - 1] == '\n')
        --*size;
    if (*size > 0 && text[*size - 1] == '\r')
        --*size;
    text[*size] = 0;
}

dr_status dr_secret_read(char **out, const char *path, dr_error *err)
{
    char *text = calloc(1, DR_SECRET_BYTES_MAX + 3); /* a line end, and one byte too many */
    FILE *file = fopen(path, "re");
    dr_status rc = DR_OK;
    size_t size;

    *out = NULL;
    if (!text) {
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    } else if (!file) {
        rc = dr_fail_errno(err, DR_EINVAL, "%s", path);
    } else {
        size = fread(text, 1, DR_SECRET_BYTES_MAX + 2, file);
        if (ferror(file))
            rc = dr_fail_errno(err, DR_EIO, "%s", path);
        strip_line_end(text, &size);
        if (!rc && size == 0)
            rc = dr_fail(err, DR_EINVAL, "%s: is empty", path);
        else if (!rc && (size > DR_SECRET_BYTES_MAX || strlen(text) != size))
            rc = dr_fail(err, DR_EINVAL, "%s: at most %d bytes, and no NUL", path, DR_SECRET_BYTES_MAX);
    }
    if (file)
        fclose(file);
    if (rc)
        free(text);
    else
        *out = text;
    return rc;
}
