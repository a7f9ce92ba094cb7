#include "worker/support/secrets.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROOM = DR_SECRET_BYTES_MAX + 5
}; /* a byte-order mark, a line end, and one byte to see that it is too long */

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
    static const char suffix[] = "file";                 /* after a dot or an underscore: */
    const size_t n = strlen(key), tail = sizeof(suffix); /* with this character */

    if (n <= tail || strcmp(key + n - tail + 1, suffix) != 0 || !strchr("._", key[n - tail]))
        return 0;
    return dr_secret_key(key) ? n - tail : 0;
}

/* The bytes after a byte-order mark, with which some programs begin a file: it is no part of a password. */
static void strip_mark(char *text, size_t *size)
{
    if (strncmp(text, "\xef\xbb\xbf", 3) != 0)
        return;
    *size -= 3;
    memmove(text, text + 3, *size + 1);
}

static bool is_wide(const char *text)
{
    return strncmp(text, "\xff\xfe", 2) == 0 || strncmp(text, "\xfe\xff", 2) == 0;
}

/* Removes the last line end, in place. */
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
    char *text = calloc(1, ROOM + 1);
    FILE *file = fopen(path, "re");
    dr_status rc = DR_OK;
    size_t size;

    *out = NULL;
    if (!text) {
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    } else if (!file) {
        rc = dr_fail_errno(err, DR_EINVAL, "%s", path);
    } else {
        size = fread(text, 1, ROOM, file);
        if (ferror(file))
            rc = dr_fail_errno(err, DR_EIO, "%s", path);
        strip_mark(text, &size);
        strip_line_end(text, &size);
        if (!rc && size == 0)
            rc = dr_fail(err, DR_EINVAL, "%s: is empty", path);
        else if (!rc && (size > DR_SECRET_BYTES_MAX || strlen(text) != size))
            rc = dr_fail(err, DR_EINVAL, "%s: at most %d bytes, and no NUL%s", path, DR_SECRET_BYTES_MAX,
                         is_wide(text) ? "; it is UTF-16: save it as UTF-8" : "");
    }
    if (file)
        fclose(file);
    if (rc)
        free(text);
    else
        *out = text;
    return rc;
}
