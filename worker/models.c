#include "worker/models.h"

#include "worker/text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_model(const char *models_dir, const char *name)
{
    char path[4096];

    if (!dr_name_valid(name, strlen(name)))
        return false;
    const int n = snprintf(path, sizeof(path), "%s/%s/model_index.json", models_dir, name);
    return n > 0 && (size_t)n < sizeof(path) && access(path, R_OK) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

dr_status dr_model_names_read(dr_model_names *out, const char *models_dir, dr_error *err)
{
    DIR *folder = opendir(models_dir);
    struct dirent *entry;
    dr_status rc = DR_OK;

    *out = (dr_model_names){ .count = 0 };
    if (!folder)
        return dr_fail_errno(err, DR_ENOTFOUND, "%s", models_dir);
    while (!rc && out->count < DR_MODELS_LISTED && (entry = readdir(folder))) {
        if (!is_model(models_dir, entry->d_name))
            continue;
        out->name[out->count] = strdup(entry->d_name);
        if (out->name[out->count])
            out->count++;
        else
            rc = dr_fail(err, DR_ENOMEM, "no memory for the names of models");
    }
    closedir(folder);
    qsort(out->name, (size_t)out->count, sizeof(out->name[0]), by_name);
    if (rc)
        dr_model_names_free(out);
    return rc;
}

void dr_model_names_free(dr_model_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->name[i]);
    names->count = 0;
}

void dr_model_names_text(const dr_model_names *names, char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    for (int i = 0; i < names->count; i++) {
        const size_t n = strlen(names->name[i]) + (i ? 2 : 0);
        if (used + n + 1 + sizeof(", ...") > size) {
            snprintf(text + used, size - used, "%s", i ? ", ..." : "");
            return;
        }
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", names->name[i]);
        used += n;
    }
}
