#include "worker/render/render_list.h"

#include "worker/jobs/job_json.h"
#include "worker/pictures/contact_sheet.h"
#include "worker/pictures/picture.h"
#include "worker/render/render_models.h"
#include "worker/support/files.h"
#include "worker/support/text.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LABEL_BYTES_MAX = 320,             /* two lines on the contact sheet hold no more, of any script */
    PICTURE_FILE_BYTES_MAX = 64 << 20, /* a larger file is not one of ours */
};

struct dr_render_list {
    char *folder;
    const dr_results_file *results; /* borrowed */
    dr_render_models *models;
    GHashTable *lines; /* from ids to their lines in the jobs file */
    dr_render_entry *entry;
    long count, room;
};

dr_status dr_render_list_open(dr_render_list **out, const char *out_folder, const dr_results_file *results,
                              const char *models_dir, dr_error *err)
{
    dr_render_list *list = calloc(1, sizeof(*list));

    *out = list;
    if (!list)
        return dr_fail(err, DR_ENOMEM, "no memory for the list of jobs");
    list->models = dr_render_models_open(models_dir);
    list->folder = g_strdup(out_folder);
    list->results = results;
    list->lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (list->models)
        return DR_OK;
    dr_render_list_close(list);
    *out = NULL;
    return dr_fail(err, DR_ENOMEM, "no memory for the list of jobs");
}

void dr_render_list_close(dr_render_list *list)
{
    if (!list)
        return;
    for (long i = 0; i < list->count; i++) {
        free(list->entry[i].id);
        free(list->entry[i].label);
    }
    free(list->entry);
    g_hash_table_unref(list->lines);
    dr_render_models_close(list->models);
    g_free(list->folder);
    free(list);
}

/* --- done before? ---------------------------------------------------------------------------- */

/* Whether a field of the job is as it was recorded.  A field that the job leaves to the model (NONE) may
 * be anything in the record. */
static bool same_value(const dr_job *job, const dr_job_field *field, const json_t *recorded)
{
    const dr_field_value value = dr_job_get(job, field);
    json_t *json;
    bool same;

    if (value.kind == DR_VALUE_NONE)
        return field->type == DR_FIELD_INT || field->type == DR_FIELD_CHOICE || !recorded;
    if (value.kind == DR_VALUE_REAL)
        return json_is_number(recorded) && (float)json_number_value(recorded) == (float)value.real;
    json = dr_job_field_json(job, field);
    same = json_equal(json, recorded);
    json_decref(json);
    return same;
}

static bool same_job(const dr_job *job, const json_t *recorded)
{
    for (int i = 0; i < dr_job_field_count; i++)
        if (!same_value(job, &dr_job_fields[i], json_object_get(recorded, dr_job_fields[i].name)))
            return false;
    return true;
}

static bool same_file(const dr_render_list *list, const char *name, const char *sha256)
{
    char *path = g_build_filename(list->folder, name, NULL), hex[65] = "";
    void *bytes;
    size_t size;

    if (dr_file_read(path, PICTURE_FILE_BYTES_MAX, &bytes, &size, NULL) == DR_OK) {
        dr_sha256_hex(hex, bytes, size);
        free(bytes);
    }
    g_free(path);
    return strcmp(hex, sha256) == 0;
}

static bool has_files(const dr_render_list *list, const dr_job *job, const json_t *pictures)
{
    for (int i = 0; i < job->images; i++) {
        const json_t *picture = json_array_get(pictures, (size_t)i);
        const char *sha256 = json_string_value(json_object_get(picture, "sha256"));
        char name[DR_PICTURE_NAME_MAX];
        dr_picture_file_name(name, job, i);
        if (!sha256 || !same_file(list, name, sha256))
            return false;
    }
    return true;
}

static bool same_weights(dr_render_list *list, const dr_job *job, const json_t *result, const char **note)
{
    const char *fingerprint = json_string_value(json_object_get(result, "model_fingerprint"));

    return dr_render_models_match(list->models, job->model, fingerprint ? fingerprint : "", note);
}

bool dr_render_list_was_done(dr_render_list *list, const dr_job *job, const char **note)
{
    json_t *result = list->results ? dr_results_get(list->results, job->id) : NULL;
    const json_t *pictures = json_object_get(result, "pictures");
    bool has;

    *note = NULL;
    has = json_array_size(pictures) == (size_t)job->images && same_job(job, json_object_get(result, "job")) &&
          has_files(list, job, pictures) && same_weights(list, job, result, note);

    json_decref(result);
    return has;
}

/* --- entries ----------------------------------------------------------------------------------- */

static char *label_of(const dr_job *job)
{
    char text[LABEL_BYTES_MAX];

    dr_text_copy(text, sizeof(text), job->prompt_bytes ? job->prompt : job->id,
                 job->prompt_bytes ? job->prompt_bytes : strlen(job->id));
    return strdup(text);
}

long dr_render_list_line(const dr_render_list *list, const char *id)
{
    return (long)GPOINTER_TO_SIZE(g_hash_table_lookup(list->lines, id));
}

dr_status dr_render_list_add(dr_render_list *list, const dr_job *job, long line, dr_error *err)
{
    const long earlier = dr_render_list_line(list, job->id);
    dr_render_entry e = { .line = line, .seed = job->seed, .images = job->images, .format = job->format };

    dr_assert(list->count == 0 || list->entry[list->count - 1].line < line); /* bsearch() needs the order */
    if (earlier)
        return dr_fail(err, DR_EINVAL, "id: %s was on line %ld already", job->id, earlier);
    if (dr_contact_sheet_owns(job->id))
        return dr_fail(err, DR_EINVAL, "id: %s is the name of the contact sheet", job->id);
    if (list->count == list->room) {
        const long room = list->room ? 2 * list->room : 256;
        dr_render_entry *entry = realloc(list->entry, (size_t)room * sizeof(*entry));
        if (!entry)
            return dr_fail(err, DR_ENOMEM, "no memory for %ld jobs", room);
        list->entry = entry;
        list->room = room;
    }
    e.id = strdup(job->id);
    e.label = label_of(job);
    if (!e.id || !e.label) {
        free(e.id);
        free(e.label);
        return dr_fail(err, DR_ENOMEM, "no memory for a label");
    }
    list->entry[list->count++] = e;
    g_hash_table_insert(list->lines, g_strdup(job->id), GSIZE_TO_POINTER((size_t)line));
    return DR_OK;
}

static int by_line(const void *line, const void *entry)
{
    const long a = *(const long *)line, b = ((const dr_render_entry *)entry)->line;
    return (a > b) - (a < b);
}

void dr_render_list_mark_done(dr_render_list *list, long line)
{
    dr_render_entry *e = bsearch(&line, list->entry, (size_t)list->count, sizeof(*list->entry), by_line);

    dr_assert(e && !e->done); /* only a job of the list is drawn, and only once */
    e->done = true;
}

const dr_render_entry *dr_render_list_at(const dr_render_list *list, long index)
{
    return index < list->count ? &list->entry[index] : NULL;
}
