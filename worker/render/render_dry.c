#include "worker/render/render_dry.h"

#include "model/model.h"
#include "worker/engine/model_folders.h"
#include "worker/support/clock.h"
#include "worker/support/files.h"
#include "worker/support/text.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

/* Jobs that could share a batch. */
typedef struct group {
    char *name;
    long jobs, pictures;
} group;

typedef struct dry_run {
    const dr_config *config;
    dr_render_jobs *jobs;
    dr_render_list *list;
    GPtrArray *groups;   /* of group *, in the order of their first jobs */
    GHashTable *by_name; /* from names to groups, which are borrowed */
    GHashTable *models;  /* from models' names to what is wrong with them, or "" */
    long read, done, wrong, pictures;
} dry_run;

static void free_group(gpointer data)
{
    group *g = data;

    g_free(g->name);
    g_free(g);
}

/* What is wrong with a model's folder, or "".  Each folder is looked at once. */
static const char *model_fault(dry_run *d, const char *name)
{
    const char *fault = g_hash_table_lookup(d->models, name);
    dr_model_config config;
    dr_error err = { .text = "" };
    char *path;

    if (fault || strcmp(d->config->device, "null") == 0)
        return fault ? fault : "";
    path = g_build_filename(d->config->models, name, NULL);
    if (!dr_folder_exists(path))
        dr_fail(&err, DR_ENOTFOUND, "model %s: not found in %s", name, d->config->models);
    else if (dr_model_entry_check(d->config->models, name, &err) == DR_OK &&
             dr_model_check(&config, path, &err) == DR_OK)
        err.text[0] = 0;
    g_free(path);
    g_hash_table_insert(d->models, g_strdup(name), g_strdup(err.text));
    return g_hash_table_lookup(d->models, name);
}

/* The size of a job's pictures, in words.  Where the job has none it is the model's own, which a dry run
 * does not read. */
static char *name_size(const dr_job *job)
{
    if (job->width && job->height)
        return g_strdup_printf("%dx%d", job->width, job->height);
    if (job->width)
        return g_strdup_printf("%d wide and the model's own height", job->width);
    if (job->height)
        return g_strdup_printf("%d high and the model's own width", job->height);
    return g_strdup("the model's own size");
}

static void count_job(dry_run *d, const dr_job *job)
{
    char *size = name_size(job);
    char *name = g_strdup_printf("%s, %s, %d steps", job->model, size, job->steps);
    group *g = g_hash_table_lookup(d->by_name, name);

    g_free(size);
    if (g) {
        g_free(name);
    } else {
        g = g_new0(group, 1);
        g->name = name;
        g_ptr_array_add(d->groups, g);
        g_hash_table_insert(d->by_name, name, g);
    }
    g->jobs++;
    g->pictures += job->images;
    d->pictures += job->images;
}

static bool is_late(const dr_job *job)
{
    return job->deadline_ms && job->deadline_ms <= dr_unix_ms();
}

static void take_job(dry_run *d, dr_jobs_entry *e)
{
    char where[DR_RENDER_WHERE_MAX];
    const char *fault, *note = NULL;
    bool done = false;

    d->read++;
    if (!e->rc && d->list)
        e->rc = dr_render_list_add(d->list, e->job, e->line, &e->err);
    if (!e->rc && *(fault = model_fault(d, e->job->model)))
        e->rc = dr_fail(&e->err, DR_EINVAL, "%s", fault);
    if (!e->rc)
        done = d->list && dr_render_list_was_done(d->list, e->job, &note);
    if (!e->rc && !done && is_late(e->job))
        e->rc = dr_fail(&e->err, DR_EEXPIRED, "deadline_ms: it has passed");
    if (e->rc) {
        d->wrong++;
        dr_render_jobs_where(d->jobs, where, e->line);
        dr_text_print(stderr, "%s%s", where, e->err.text);
    } else if (done) {
        d->done++;
    } else {
        count_job(d, e->job);
    }
    if (note)
        dr_text_print(stderr, "%s", note);
}

static const char *plural(long n)
{
    return n == 1 ? "" : "s";
}

static void print_groups(const dry_run *d)
{
    for (guint i = 0; i < d->groups->len; i++) {
        const group *g = g_ptr_array_index(d->groups, i);
        printf("%s: %ld picture%s of %ld job%s\n", g->name, g->pictures, plural(g->pictures), g->jobs,
               plural(g->jobs));
    }
    printf("%ld job%s: %ld picture%s to draw, %ld done before, %ld wrong; nothing was drawn\n", d->read,
           plural(d->read), d->pictures, plural(d->pictures), d->done, d->wrong);
}

dr_status dr_render_dry_run(dr_render_jobs *jobs, dr_render_list *list, const dr_config *config, long *wrong,
                            dr_error *err)
{
    dry_run d = {
        .config = config,
        .jobs = jobs,
        .list = list,
        .groups = g_ptr_array_new_with_free_func(free_group),
        .by_name = g_hash_table_new(g_str_hash, g_str_equal),
        .models = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
    };
    dr_jobs_entry e;
    dr_status rc;

    while (dr_render_jobs_next(jobs, &e)) {
        take_job(&d, &e);
        dr_job_free(e.job);
    }
    rc = dr_render_jobs_status(jobs, err);
    if (!rc)
        print_groups(&d);
    *wrong = d.wrong;
    g_hash_table_unref(d.by_name);
    g_hash_table_unref(d.models);
    g_ptr_array_unref(d.groups);
    return rc;
}
