#include "worker/render/render_models.h"

#include "model/model.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

typedef struct known_model {
    char fingerprint[DR_FINGERPRINT_SIZE]; /* "": its files can't be read */
    char *note;
    bool noted;
} known_model;

struct dr_render_models {
    const char *models_dir;
    GHashTable *by_name; /* from models' names to known_model */
};

static void free_known(gpointer data)
{
    known_model *k = data;

    g_free(k->note);
    g_free(k);
}

dr_render_models *dr_render_models_open(const char *models_dir)
{
    dr_render_models *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->models_dir = models_dir;
    m->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_known);
    return m;
}

void dr_render_models_close(dr_render_models *m)
{
    if (!m)
        return;
    g_hash_table_unref(m->by_name);
    free(m);
}

static known_model *look_up(dr_render_models *m, const char *model)
{
    known_model *k = g_hash_table_lookup(m->by_name, model);
    char *path;
    dr_error err;

    if (k)
        return k;
    k = g_new0(known_model, 1);
    path = g_build_filename(m->models_dir, model, NULL);
    if (dr_model_fingerprint(k->fingerprint, path, &err))
        k->note = g_strdup_printf(
            "model %s: its weights can't be compared with those that pictures were drawn with, so these "
            "stay: %s",
            model, err.text);
    else
        k->note = g_strdup_printf(
            "model %s: its files have changed since pictures were drawn with it, so these pictures are drawn "
            "again",
            model);
    g_free(path);
    g_hash_table_insert(m->by_name, g_strdup(model), k);
    return k;
}

bool dr_render_models_match(dr_render_models *m, const char *model, const char *fingerprint,
                            const char **note)
{
    known_model *k;

    *note = NULL;
    if (!m->models_dir)
        return true;
    k = look_up(m, model);
    if (strcmp(k->fingerprint, fingerprint) == 0)
        return true;
    *note = k->noted ? NULL : k->note;
    k->noted = true;
    return !*k->fingerprint;
}
