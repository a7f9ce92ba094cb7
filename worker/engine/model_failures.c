#include "worker/engine/model_failures.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- files ------------------------------------------------------------------------------ */

/* FNV-1a */
static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t state_of_file(const char *path, const struct stat *st)
{
    const uint64_t facts[] = { (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
                               (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ino };

    return mix(mix(UINT64_C(0xcbf29ce484222325), path, strlen(path)), facts, sizeof(facts));
}

/* The states of the entries are added up, because a folder is read in no certain order. */
static uint64_t state_of_folder(const char *folder, int depth)
{
    DIR *dir = opendir(folder);
    uint64_t state = 0;
    char path[PATH_MAX];
    struct stat st;

    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path) ||
            stat(path, &st))
            continue;
        if (!S_ISDIR(st.st_mode))
            state += state_of_file(path, &st);
        else if (depth > 0)
            state += state_of_folder(path, depth - 1);
    }
    if (dir)
        closedir(dir);
    return state;
}

uint64_t dr_model_files_state(const char *folder)
{
    return state_of_folder(folder, 1);
}

/* --- failures --------------------------------------------------------------------------- */

void dr_model_failures_note(dr_model_failures *f, const char *name, uint64_t state, const dr_error *err)
{
    int i = 0;

    dr_assert(err->status && name[0]);
    if (err->retriable)
        return;
    while (i < DR_MODEL_FAILURES_MAX && f->model[i].name[0] && strcmp(f->model[i].name, name) != 0)
        i++;
    if (i == DR_MODEL_FAILURES_MAX) {
        i = f->next;
        f->next = (f->next + 1) % DR_MODEL_FAILURES_MAX;
    }
    dr_assert(snprintf(f->model[i].name, sizeof(f->model[i].name), "%s", name) <
              (int)sizeof(f->model[i].name));
    f->model[i].state = state;
    f->model[i].error = *err;
}

dr_status dr_model_failures_find(const dr_model_failures *f, const char *name, uint64_t state, dr_error *err)
{
    for (int i = 0; i < DR_MODEL_FAILURES_MAX; i++) {
        if (strcmp(f->model[i].name, name) != 0 || f->model[i].state != state)
            continue;
        if (err)
            *err = f->model[i].error;
        return f->model[i].error.status;
    }
    return DR_OK;
}
