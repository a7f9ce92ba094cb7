#include "worker/engine/model_folders.h"

#include "worker/support/text.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- names ------------------------------------------------------------------------------ */

typedef bool name_filter(const char *models_dir, const char *name);

static bool has_index(const char *folder)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/model_index.json", folder) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

static bool is_model(const char *models_dir, const char *name)
{
    char path[PATH_MAX];

    return dr_folder_name_valid(name, strlen(name)) &&
           snprintf(path, sizeof(path), "%s/%s", models_dir, name) < (int)sizeof(path) && has_index(path);
}

/* Whether it is a file of weights.  In other layouts such a file holds a whole model. */
static bool is_weights_file(const char *name)
{
    static const char *const ends[] = { ".safetensors", ".ckpt", ".bin", ".pt", ".pth", ".gguf", ".onnx" };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
        if (!strcmp(dot, ends[i]))
            return true;
    return false;
}

static bool is_entry(const char *models_dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    if (name[0] == '.' || snprintf(path, sizeof(path), "%s/%s", models_dir, name) >= (int)sizeof(path) ||
        lstat(path, &st))
        return false;
    return S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode) || is_weights_file(name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static dr_status append(dr_model_names *names, int *room, const char *name, dr_error *err)
{
    char *copy = strdup(name);

    if (copy && names->count == *room) {
        const int more = *room ? 2 * *room : 64;
        char **grown = realloc(names->name, (size_t)more * sizeof(*grown));

        if (grown) {
            names->name = grown;
            *room = more;
        }
    }
    if (!copy || names->count == *room) {
        free(copy);
        return dr_fail(err, DR_ENOMEM, "no memory for the names of models");
    }
    names->name[names->count++] = copy;
    return DR_OK;
}

static dr_status read_names(dr_model_names *out, const char *models_dir, name_filter *filter, dr_error *err)
{
    DIR *folder = opendir(models_dir);
    struct dirent *entry;
    dr_status rc = DR_OK;
    int room = 0;

    *out = (dr_model_names){ .count = 0 };
    if (!folder)
        return dr_fail_errno(err, DR_ENOTFOUND, "%s", models_dir);
    while (!rc && (entry = readdir(folder)))
        if (filter(models_dir, entry->d_name))
            rc = append(out, &room, entry->d_name, err);
    closedir(folder);
    if (rc)
        dr_model_names_free(out);
    else if (out->count > 0)
        qsort(out->name, (size_t)out->count, sizeof(out->name[0]), by_name);
    return rc;
}

dr_status dr_model_names_read(dr_model_names *out, const char *models_dir, dr_error *err)
{
    return read_names(out, models_dir, is_model, err);
}

dr_status dr_model_entries_read(dr_model_names *out, const char *models_dir, dr_error *err)
{
    return read_names(out, models_dir, is_entry, err);
}

void dr_model_names_free(dr_model_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (dr_model_names){ .count = 0 };
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

/* --- what an entry is ------------------------------------------------------------------- */

/* The first model below PATH/snapshots, as a path inside the models directory; "" where there is none. */
static void find_snapshot(const char *path, const char *name, char *text, size_t size)
{
    char below[PATH_MAX], folder[PATH_MAX];
    dr_model_names snapshots;

    text[0] = '\0';
    if (snprintf(below, sizeof(below), "%s/snapshots", path) >= (int)sizeof(below) ||
        dr_model_entries_read(&snapshots, below, NULL))
        return;
    for (int i = 0; i < snapshots.count && !*text; i++)
        if (snprintf(folder, sizeof(folder), "%s/%s", below, snapshots.name[i]) < (int)sizeof(folder) &&
            has_index(folder))
            snprintf(text, size, "%s/snapshots/%s", name, snapshots.name[i]);
    dr_model_names_free(&snapshots);
}

static dr_status fail_missing(const char *path, dr_error *err)
{
    char target[PATH_MAX];
    const ssize_t n = readlink(path, target, sizeof(target) - 1);

    if (n < 0)
        return dr_fail_errno(err, DR_EIO, "%s", path);
    target[n] = '\0';
    return dr_fail(err, DR_ENOTFOUND, "it is a link to %s, which is not there", target);
}

static dr_status fail_without_index(const char *path, const char *name, dr_error *err)
{
    char snapshot[PATH_MAX];
    DIR *folder = opendir(path);

    if (!folder)
        return dr_fail_errno(err, DR_EIO, "%s", path);
    closedir(folder);
    find_snapshot(path, name, snapshot, sizeof(snapshot));
    if (*snapshot)
        return dr_fail(err, DR_EFORMAT,
                       "this is a hub's cache; to use the model in it, link it under a name: ln -s '%s' NAME",
                       snapshot);
    return dr_fail(err, DR_ENOTFOUND,
                   "no model_index.json in it: a model is a folder in the diffusers layout");
}

dr_status dr_model_entry_check(const char *models_dir, const char *name, dr_error *err)
{
    char path[PATH_MAX], index[PATH_MAX];
    struct stat st;

    if (snprintf(path, sizeof(path), "%s/%s", models_dir, name) >= (int)sizeof(path) ||
        snprintf(index, sizeof(index), "%.*s/model_index.json", (int)sizeof(index) - 20, path) >=
            (int)sizeof(index))
        return dr_fail(err, DR_EINVAL, "%.200s...: the path is too long", path);
    if (stat(path, &st))
        return fail_missing(path, err);
    if (!S_ISDIR(st.st_mode))
        return dr_fail(err, DR_EFORMAT, "it is a file: a model is a folder in the diffusers layout");
    if (access(index, F_OK))
        return fail_without_index(path, name, err);
    if (!dr_folder_name_valid(name, strlen(name)))
        return dr_fail(err, DR_EINVAL, "no job can say its name: %s", dr_folder_name_rule);
    return DR_OK;
}
