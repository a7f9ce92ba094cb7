#include "worker/render/render.h"

#include "worker/pictures/contact_sheet.h"
#include "worker/render/render_output.h"
#include "worker/render/render_report.h"

#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_MS = 100 }; /* how soon an interrupt is seen, and the bar moves */

struct dr_render {
    dr_render_options options;
    dr_pipeline *pipeline;
    /* From here on under the lock: results come from several threads. */
    pthread_mutex_t lock;
    dr_render_output *output;
    dr_render_report report;
    GHashTable *running; /* jobs of batches that have begun, by their addresses */
    dr_error broken;     /* why nothing more is tried; status DR_OK: go on */
};

/* Nothing more is tried; what is not done is left for the next render.  The first reason counts. */
static void break_off(dr_render *r, const dr_error *why)
{
    pthread_mutex_lock(&r->lock);
    if (!r->broken.status)
        r->broken = *why;
    pthread_mutex_unlock(&r->lock);
}

static void break_off_without_memory(dr_render *r, long line)
{
    dr_error err;

    dr_fail(&err, DR_ENOMEM, "line %ld: no memory for its job", line);
    break_off(r, &err);
}

static bool is_broken(dr_render *r)
{
    pthread_mutex_lock(&r->lock);
    const bool broken = r->broken.status != DR_OK;
    pthread_mutex_unlock(&r->lock);
    return broken;
}

static bool is_interrupted(const dr_render *r)
{
    return *r->options.interrupted != 0;
}

/* --- results, on the pipeline's threads ------------------------------------------------------- */

/* The line and the count of one result.  Called with the lock. */
static dr_status record_result(dr_render *r, const dr_result *result, const dr_render_files *files,
                               dr_error *err)
{
    const long line = (long)result->job->origin.offset;
    const dr_status rc = dr_render_output_write_line(r->output, result, files, err);
    dr_render_list *list = dr_render_output_list(r->output);
    dr_progress_state *p = &r->report.progress;

    if (rc)
        return rc;
    for (int i = 0; i < result->warnings.count; i++)
        dr_render_report_job(&r->report, line, result->warnings.text[i]);
    if (result->error.status != DR_OK) {
        p->failed++;
        dr_render_report_job(&r->report, line, result->error.text);
        return DR_OK;
    }
    if (list)
        dr_render_list_mark_done(list, line);
    if (r->options.one_job)
        dr_render_report_pictures(&r->report, r->output, result, files);
    p->done++;
    p->pictures += result->pictures;
    return DR_OK;
}

/* Takes the result. */
static void on_result(void *arg, dr_result *result)
{
    dr_error err = { .status = DR_OK };
    dr_render_files files;
    dr_render *r = arg;

    pthread_mutex_lock(&r->lock);
    g_hash_table_remove(r->running, result->job);
    pthread_mutex_unlock(&r->lock);
    if (result->error.status == DR_EDEVICE) {
        err = result->error; /* not the job's fault: it gets no line, and the next render draws it */
    } else if (dr_render_output_write_pictures(r->output, result, &files, &err) == DR_OK) {
        pthread_mutex_lock(&r->lock);
        record_result(r, result, &files, &err);
        pthread_mutex_unlock(&r->lock);
    }
    if (err.status)
        break_off(r, &err);
    dr_result_free(result);
}

static void on_event(void *arg, const dr_job_event *event)
{
    dr_render *r = arg;

    pthread_mutex_lock(&r->lock);
    if (event->kind == DR_EVENT_STARTED)
        g_hash_table_add(r->running, (gpointer)(uintptr_t)event->job);
    if (event->kind == DR_EVENT_STARTED || event->kind == DR_EVENT_STEP) {
        r->report.progress.step = event->kind == DR_EVENT_STEP ? event->step : 0;
        r->report.progress.steps = event->steps;
    }
    pthread_mutex_unlock(&r->lock);
}

/* --- waiting ------------------------------------------------------------------------------------- */

static void show_bar(dr_render *r)
{
    pthread_mutex_lock(&r->lock);
    dr_render_report_bar(&r->report, g_hash_table_size(r->running));
    pthread_mutex_unlock(&r->lock);
}

/* Wait for the pipeline a little.  False: stop. */
static bool wait_a_little(dr_render *r, bool (*wait)(dr_pipeline *, int))
{
    show_bar(r);
    wait(r->pipeline, LOOK_MS);
    return !is_interrupted(r) && !is_broken(r);
}

/* --- one job -------------------------------------------------------------------------------------- */

/* A job that is not drawn, because it can't be one.  Takes it. */
static void refuse(dr_render *r, dr_job *job, const dr_error *err, const dr_refusal *refusal)
{
    dr_result *result = dr_result_failed(job, err, refusal);

    if (result) {
        on_result(r, result);
        return;
    }
    break_off_without_memory(r, job->origin.offset);
    dr_job_free(job);
}

/* Put the job into the list, and see whether an earlier render has drawn it. */
static dr_status list_job(dr_render *r, const dr_job *job, long line, bool *done_before, dr_error *err)
{
    dr_render_list *list = dr_render_output_list(r->output);
    const char *note = NULL;
    dr_status rc;

    *done_before = false;
    if (!list)
        return DR_OK;
    pthread_mutex_lock(&r->lock);
    rc = dr_render_list_add(list, job, line, err);
    *done_before = !rc && dr_render_list_was_done(list, job, &note);
    if (note)
        dr_render_report_note(&r->report, note);
    if (*done_before) {
        r->report.progress.skipped++;
        dr_render_list_mark_done(list, line);
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* Whether this line was refused and its id is another line's, or the contact sheet's.  Under that id it
 * may not have a line in results.jsonl: it would take the other's place. */
static bool is_others_id(dr_render *r, const dr_jobs_entry *e)
{
    const dr_render_list *list = dr_render_output_list(r->output);

    return list && (e->rc == DR_EINVAL || e->rc == DR_EFORMAT || e->rc == DR_EUNSUPPORTED) &&
           (dr_render_list_line(list, e->job->id) || dr_contact_sheet_owns(e->job->id));
}

/* Give the job an id that is nobody's: "line-000004", or "line-000004.1".  False: no memory. */
static bool give_free_id(dr_render *r, dr_jobs_entry *e)
{
    const dr_render_list *list = dr_render_output_list(r->output);
    char *id = NULL;

    for (int n = 0; n == 0 || dr_render_list_line(list, id); n++) {
        free(id);
        if ((n ? asprintf(&id, "%s.%d", e->fallback_id, n) : asprintf(&id, "%s", e->fallback_id)) < 0)
            return false;
    }
    free(e->job->id);
    e->job->id = id;
    return true;
}

/* Into the pipeline, when it has room.  Takes the job.  False: stop. */
static bool submit(dr_render *r, dr_jobs_entry *e)
{
    for (bool had_room = false;;) {
        const bool empty = dr_pipeline_in_flight(r->pipeline) == 0;

        if (dr_pipeline_submit(r->pipeline, e->job))
            return true;
        if (empty) /* it has room, but no memory; else jobs that end may give some back */
            break_off_without_memory(r, e->line);
        if (!wait_a_little(r, had_room ? dr_pipeline_drain : dr_pipeline_wait_room))
            break;
        had_room = true;
    }
    dr_job_free(e->job);
    return false;
}

/* Refuse one job, skip it, or draw it.  Takes the entry's job.  False: stop. */
static bool take_job(dr_render *r, dr_jobs_entry *e)
{
    bool done_before = false;

    if (e->job && !e->rc)
        e->rc = list_job(r, e->job, e->line, &done_before, &e->err);
    if (e->job && is_others_id(r, e) && !give_free_id(r, e))
        e->rc = DR_ENOMEM;
    if (!e->job || e->rc == DR_ENOMEM) {
        break_off_without_memory(r, e->line);
        dr_job_free(e->job);
        return false;
    }
    e->job->origin.offset = e->line;
    if (e->rc) {
        refuse(r, e->job, &e->err, &e->refusal);
        return true;
    }
    if (!done_before)
        return submit(r, e);
    dr_job_free(e->job);
    return true;
}

/* --- the whole -------------------------------------------------------------------------------------- */

dr_status dr_render_open(dr_render **out, const dr_render_options *options, dr_error *err)
{
    dr_render *r = calloc(1, sizeof(*r));
    dr_status rc;

    *out = NULL;
    if (!r)
        return dr_fail(err, DR_ENOMEM, "no memory for the render");
    r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    r->running = g_hash_table_new(NULL, NULL);
    dr_render_report_begin(&r->report, options->jobs, options->one_job);
    rc = dr_render_output_open(&r->output, options->target, options->models_dir, err);
    if (rc) {
        dr_render_close(r);
        return rc;
    }
    *out = r;
    return DR_OK;
}

void dr_render_close(dr_render *r)
{
    if (!r)
        return;
    dr_pipeline_stop(r->pipeline);
    dr_render_output_close(r->output);
    g_hash_table_unref(r->running);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

dr_status dr_render_start(dr_render *r, dr_error *err)
{
    dr_pipeline_options options = r->options.pipeline;

    options.on_result = on_result;
    options.on_event = on_event;
    options.arg = r;
    return dr_pipeline_start(&r->pipeline, &options, err);
}

dr_status dr_render_draw(dr_render *r, dr_error *err)
{
    dr_jobs_entry entry;

    dr_assert(r->pipeline); /* dr_render_start() has succeeded, and this is the only call */
    while (!is_interrupted(r) && dr_render_jobs_next(r->options.jobs, &entry))
        if (!take_job(r, &entry))
            break;
    while (dr_pipeline_in_flight(r->pipeline) > 0 && !is_interrupted(r) && !is_broken(r)) {
        show_bar(r);
        dr_pipeline_drain(r->pipeline, LOOK_MS);
    }
    dr_pipeline_stop(r->pipeline);
    r->pipeline = NULL;
    return dr_render_jobs_status(r->options.jobs, err);
}

dr_status dr_render_end(dr_render *r, dr_error *err)
{
    dr_status rc = r->broken.status;

    dr_assert(!r->pipeline); /* nobody else writes any more */
    if (rc)
        *err = r->broken;
    dr_render_report_stop(&r->report);
    if (!rc)
        rc = dr_render_output_compact(r->output, err);
    if (!rc && r->options.sheet && !r->options.one_job)
        rc = dr_render_output_write_sheet(r->output, err);
    dr_render_report_end(&r->report, is_interrupted(r));
    return rc;
}

long dr_render_failed(const dr_render *r)
{
    return r->report.progress.failed;
}
