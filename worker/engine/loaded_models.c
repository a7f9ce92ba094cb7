#include "worker/engine/loaded_models.h"

#include "worker/engine/model_failures.h"
#include "worker/engine/model_folders.h"
#include "worker/support/clock.h"
#include "worker/support/files.h"
#include "worker/support/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct place {
    char *name; /* NULL: the place is free */
    dr_model *model;
    uint64_t used; /* when it was used last, counted in uses of any model */
} place;

struct dr_loaded_models {
    dr_device *device;
    const char *models_dir;
    dr_before_unload_fn *before_unload;
    void *arg;
    dr_model_failures failures;
    uint64_t uses;
    int places;
    place place[];
};

static place *find(dr_loaded_models *m, const char *name)
{
    for (int i = 0; i < m->places; i++)
        if (m->place[i].name && strcmp(m->place[i].name, name) == 0)
            return &m->place[i];
    return NULL;
}

static void unload(dr_loaded_models *m, place *at)
{
    dr_assert(at->name && at->model);
    m->before_unload(m->arg, at->model);
    dr_model_close(at->model);
    free(at->name);
    *at = (place){ .name = NULL };
}

/* A free place.  If there is none, the model that was used longest ago is unloaded, and its place is free. */
static place *free_place(dr_loaded_models *m)
{
    place *oldest = &m->place[0];

    for (int i = 0; i < m->places; i++) {
        if (!m->place[i].name)
            return &m->place[i];
        if (m->place[i].used < oldest->used)
            oldest = &m->place[i];
    }
    dr_log_info("engine", "unloading model %s", oldest->name);
    unload(m, oldest);
    return oldest;
}

bool dr_loaded_models_make_room(dr_loaded_models *m, const dr_model *keep, const char *name,
                                const dr_error *why)
{
    bool any = false;

    for (int i = 0; i < m->places; i++) {
        place *at = &m->place[i];

        if (!at->name || at->model == keep)
            continue;
        dr_log_info("engine", "unloading model %s to make room for %s: %s", at->name, name, why->text);
        unload(m, at);
        any = true;
    }
    return any;
}

static dr_status refuse_unknown(const dr_loaded_models *m, const char *name, dr_refusal *refusal,
                                dr_error *err)
{
    dr_model_names names;

    *refusal = (dr_refusal){ .field = "model" };
    if (dr_model_names_read(&names, m->models_dir, err))
        return err->status;
    dr_model_names_text(&names, refusal->allowed, sizeof(refusal->allowed));
    dr_model_names_free(&names);
    return dr_fail(err, DR_ENOTFOUND, "model %s: no such model%s%s", name,
                   *refusal->allowed ? "; there are: " : "", refusal->allowed);
}

/* Opens a model.  If memory is short, all other models are unloaded, and it is tried once more. */
static dr_status open_model(dr_loaded_models *m, const char *name, const char *path, dr_model **out,
                            dr_error *err)
{
    const uint64_t state = dr_model_files_state(path);
    dr_status rc = dr_model_open(out, m->device, path, err);

    if (rc == DR_ENOMEM && dr_loaded_models_make_room(m, NULL, name, err))
        rc = dr_model_open(out, m->device, path, err);
    if (rc)
        dr_model_failures_note(&m->failures, name, state, err);
    return rc;
}

static dr_status load_into(dr_loaded_models *m, place *at, const char *name, const char *path, dr_error *err)
{
    const double begin_s = dr_clock_s();
    dr_model *model = NULL;
    const dr_status rc = open_model(m, name, path, &model, err);

    if (rc)
        return rc;
    dr_assert(!at->name && !find(m, name)); /* a model is loaded once */
    at->name = strdup(name);
    if (!at->name) {
        dr_model_close(model);
        return dr_fail(err, DR_ENOMEM, "no memory for a model's name");
    }
    at->model = model;
    dr_log_info("engine", "loaded model %s, %zu MiB, in %.1f s", name,
                dr_model_info_of(model)->weight_bytes >> 20, dr_clock_s() - begin_s);
    return DR_OK;
}

static dr_status load(dr_loaded_models *m, const char *name, place **out, dr_refusal *refusal, dr_error *err)
{
    char path[PATH_MAX];
    dr_status rc;

    snprintf(path, sizeof(path), "%s/%s", m->models_dir, name);
    if (!dr_folder_exists(path))
        return refuse_unknown(m, name, refusal, err);
    rc = dr_model_failures_find(&m->failures, name, dr_model_files_state(path), err);
    if (!rc) {
        *out = free_place(m);
        rc = load_into(m, *out, name, path, err);
    }
    if (rc)
        *refusal = (dr_refusal){ .field = "model" };
    return rc;
}

dr_status dr_loaded_models_get(dr_loaded_models *m, const char *name, dr_model **out, dr_refusal *refusal,
                               dr_error *err)
{
    place *at = find(m, name);

    if (!at) {
        const dr_status rc = load(m, name, &at, refusal, err);

        if (rc)
            return rc;
    }
    at->used = ++m->uses;
    *out = at->model;
    return DR_OK;
}

dr_model *dr_loaded_models_find(dr_loaded_models *m, const char *name)
{
    const place *at = find(m, name);

    return at ? at->model : NULL;
}

bool dr_loaded_models_has(dr_loaded_models *m, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", m->models_dir, name);
    return find(m, name) || dr_folder_exists(path);
}

dr_status dr_loaded_models_create(dr_loaded_models **out, dr_device *device, const char *models_dir,
                                  int places, dr_before_unload_fn *before_unload, void *arg, dr_error *err)
{
    dr_loaded_models *m = calloc(1, sizeof(*m) + (size_t)places * sizeof(m->place[0]));

    dr_assert(places >= 1);
    *out = m;
    if (!m)
        return dr_fail(err, DR_ENOMEM, "no memory for %d models", places);
    m->device = device;
    m->models_dir = models_dir;
    m->places = places;
    m->before_unload = before_unload;
    m->arg = arg;
    return DR_OK;
}

void dr_loaded_models_free(dr_loaded_models *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->places; i++)
        if (m->place[i].name)
            unload(m, &m->place[i]);
    free(m);
}
