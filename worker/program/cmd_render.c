/* cmd_render.c - a file of jobs to a folder of pictures, or one job in flags to one picture, without Kafka.
 *
 *     jobs -> parse -> [done before?] -> pipeline -> OUT/<id>.png, OUT/results.jsonl
 *
 * A job's pictures are on the disk before its line is, so a run that was ended in any way goes on where it
 * stopped: what has no line, or not the right file, is done again. */
#include "worker/program/commands.h"

#include "worker/pictures/contact_sheet.h"
#include "worker/pictures/picture.h"
#include "worker/program/setup.h"
#include "worker/render/progress.h"
#include "worker/render/render_dry.h"
#include "worker/render/render_jobs.h"
#include "worker/render/render_list.h"
#include "worker/render/render_target.h"
#include "worker/support/clock.h"
#include "worker/support/files.h"
#include "worker/support/log.h"
#include "worker/support/text.h"

#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct render {
    bool one; /* job, of flags */
    dr_render_target target;
    dr_render_jobs *jobs;
    dr_results_file *results; /* NULL, as the list: OUT is a file */
    dr_render_list *list;
    dr_pipeline *pipeline;
    dr_progress_bar bar;
    double start_s;
    /* From here on under the lock: results come from several threads. */
    pthread_mutex_t lock;
    dr_progress_state progress;
    GHashTable *running; /* jobs of batches that have begun, by their addresses */
    dr_error
        broken; /* the first file not written, a lost device, no memory for a line: nothing more is tried */
} render;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* --- results ------------------------------------------------------------------------------- */

static dr_status write_pictures(render *r, const dr_result *result, char (*files)[DR_TARGET_NAME_MAX],
                                dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; i < result->pictures && !rc; i++) {
        dr_render_target_name(&r->target, files[i], result->job, i);
        char *path = g_build_filename(r->target.folder, files[i], NULL);
        rc = dr_file_write(path, result->picture[i].bytes, result->picture[i].size, err);
        g_free(path);
    }
    return rc;
}

static dr_status write_line(render *r, const dr_result *result, char (*files)[DR_TARGET_NAME_MAX],
                            dr_error *err)
{
    const char *names[DR_IMAGES_MAX];
    dr_status rc;
    char *line;

    for (int i = 0; i < DR_IMAGES_MAX; i++)
        names[i] = files[i];
    line = dr_result_json(result, names);
    if (!line)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for its line", result->job->id);
    rc = dr_results_append(r->results, result->job->id, result->error.status == DR_OK, line, err);
    free(line);
    return rc;
}

/* What a user of flags wants to know of each picture. */
static void say_pictures(render *r, const dr_result *result, char (*files)[DR_TARGET_NAME_MAX])
{
    dr_progress_bar_clear(&r->bar);
    for (int i = 0; i < result->pictures; i++) {
        char *path = strcmp(r->target.folder, ".") == 0 ? g_strdup(files[i])
                                                        : g_build_filename(r->target.folder, files[i], NULL);
        dr_text_print(stderr, "%s: %dx%d, seed %" PRIu64, path, result->picture[i].width,
                      result->picture[i].height, result->picture[i].seed);
        g_free(path);
    }
}

/* A line about a job, under the bar. */
static void say_of_job(render *r, long line, const char *what)
{
    char where[DR_RENDER_WHERE_MAX];

    dr_progress_bar_clear(&r->bar);
    dr_render_jobs_where(r->jobs, where, line);
    dr_text_print(stderr, "%s%s", where, what);
}

/* Line and count of one result.  Called with the lock. */
static dr_status record(render *r, const dr_result *result, char (*files)[DR_TARGET_NAME_MAX], dr_error *err)
{
    const long at = (long)result->job->origin.offset;
    const dr_status rc = r->list ? write_line(r, result, files, err) : DR_OK;

    if (rc)
        return rc;
    for (int i = 0; i < result->warnings.count; i++)
        say_of_job(r, at, result->warnings.text[i]);
    if (result->error.status != DR_OK) {
        r->progress.failed++;
        say_of_job(r, at, result->error.text);
        return DR_OK;
    }
    if (r->list)
        dr_render_list_find(r->list, at)->done = true;
    if (r->one)
        say_pictures(r, result, files);
    r->progress.done++;
    r->progress.pictures += result->pictures;
    return DR_OK;
}

/* Render ends with this, and does the rest when it is run again. */
static void break_off(render *r, const dr_error *err)
{
    pthread_mutex_lock(&r->lock);
    if (!r->broken.status)
        r->broken = *err;
    pthread_mutex_unlock(&r->lock);
}

static void take_result(void *arg, dr_result *result)
{
    char files[DR_IMAGES_MAX][DR_TARGET_NAME_MAX];
    render *r = arg;
    dr_error err = { .status = DR_OK };

    pthread_mutex_lock(&r->lock);
    g_hash_table_remove(r->running, result->job);
    pthread_mutex_unlock(&r->lock);
    if (result->error.status == DR_EDEVICE) {
        err = result->error; /* not the job's fault: it gets no line, and is done when render is run again */
    } else if (write_pictures(r, result, files, &err) == DR_OK) {
        pthread_mutex_lock(&r->lock);
        record(r, result, files, &err);
        pthread_mutex_unlock(&r->lock);
    }
    if (err.status)
        break_off(r, &err);
    dr_result_free(result);
}

static void take_event(void *arg, const dr_job_event *event)
{
    render *r = arg;

    pthread_mutex_lock(&r->lock);
    if (event->kind == DR_EVENT_STARTED) {
        g_hash_table_add(r->running, (gpointer)(uintptr_t)event->job);
        r->progress.step = 0;
        r->progress.steps = event->steps;
    } else if (event->kind == DR_EVENT_STEP) {
        r->progress.step = event->step;
        r->progress.steps = event->steps;
    }
    pthread_mutex_unlock(&r->lock);
}

/* --- lines ----------------------------------------------------------------------------------- */

static bool is_broken(render *r)
{
    pthread_mutex_lock(&r->lock);
    const bool broken = r->broken.status != DR_OK;
    pthread_mutex_unlock(&r->lock);
    return broken;
}

static void show(render *r)
{
    pthread_mutex_lock(&r->lock);
    dr_progress_state *p = &r->progress;
    p->seconds = dr_clock_s() - r->start_s;
    p->under_way = p->steps > 0 ? (double)g_hash_table_size(r->running) * p->step / p->steps : 0;
    dr_progress_bar_show(&r->bar, &r->progress);
    pthread_mutex_unlock(&r->lock);
}

/* Whether to go on. */
static bool wait_a_little(render *r, bool (*wait)(dr_pipeline *, int))
{
    show(r);
    wait(r->pipeline, 100);
    return !interrupted && !is_broken(r);
}

static void lack_memory(render *r, long line)
{
    dr_error err;

    dr_fail(&err, DR_ENOMEM, "line %ld: no memory for its job", line);
    break_off(r, &err);
}

/* A line that never gets to run.  Takes the job. */
static void fail_line(render *r, dr_job *job, const dr_error *err, const dr_refusal *refusal)
{
    dr_result *result = dr_result_failed(job, err, refusal);

    if (result) {
        take_result(r, result);
        return;
    }
    lack_memory(r, job->origin.offset);
    dr_job_free(job);
}

/* Into the list, and perhaps it is done already: under the lock, for results come in meanwhile. */
static dr_status enlist(render *r, const dr_job *job, long line, bool *done_before, dr_error *err)
{
    const char *note = NULL;
    dr_status rc;

    *done_before = false;
    if (!r->list)
        return DR_OK;
    pthread_mutex_lock(&r->lock);
    rc = dr_render_list_add(r->list, job, line, err);
    *done_before = !rc && dr_render_list_has(r->list, job, &note);
    if (note) {
        dr_progress_bar_clear(&r->bar);
        dr_text_print(stderr, "%s", note);
    }
    if (*done_before) {
        r->progress.skipped++;
        dr_render_list_find(r->list, line)->done = true;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* Its id is another line's, whose results must not be overwritten: one that is nobody's.  False: no memory. */
static bool take_fallback_id(const render *r, dr_jobs_entry *e)
{
    char *id = NULL;

    for (int n = 0; n == 0 || dr_render_list_line(r->list, id); n++) {
        free(id);
        if ((n ? asprintf(&id, "%s.%d", e->fallback_id, n) : asprintf(&id, "%s", e->fallback_id)) < 0)
            return false;
    }
    free(e->job->id);
    e->job->id = id;
    return true;
}

/* Whether this line may not be answered under its own id. */
static bool is_others_id(const render *r, const dr_jobs_entry *e)
{
    return r->list && (e->rc == DR_EINVAL || e->rc == DR_EFORMAT || e->rc == DR_EUNSUPPORTED) &&
           (dr_render_list_line(r->list, e->job->id) || dr_contact_sheet_owns(e->job->id));
}

/* Takes the job.  Where there is room and it is not taken, memory lacks: those inside may give some back. */
static bool submit(render *r, dr_jobs_entry *e)
{
    for (bool room = false;;) {
        const bool empty = dr_pipeline_in_flight(r->pipeline) == 0;

        if (dr_pipeline_submit(r->pipeline, e->job))
            return true;
        if (empty)
            lack_memory(r, e->line);
        if (!wait_a_little(r, room ? dr_pipeline_drain : dr_pipeline_wait_room))
            break;
        room = true;
    }
    dr_job_free(e->job);
    return false;
}

/* One job: refused, done before, or into the pipeline; false: stop. */
static bool take_entry(render *r, dr_jobs_entry *e)
{
    bool done_before = false;

    if (e->job && !e->rc)
        e->rc = enlist(r, e->job, e->line, &done_before, &e->err);
    if (e->job && is_others_id(r, e) && !take_fallback_id(r, e))
        e->rc = DR_ENOMEM;
    if (!e->job || e->rc == DR_ENOMEM) {
        lack_memory(r, e->line);
        dr_job_free(e->job);
        return false;
    }
    e->job->origin.offset = e->line;
    if (e->rc) {
        fail_line(r, e->job, &e->err, &e->refusal);
        return true;
    }
    if (!done_before)
        return submit(r, e);
    dr_job_free(e->job);
    return true;
}

static void take_entries(render *r)
{
    dr_jobs_entry entry;

    while (!interrupted && dr_render_jobs_next(r->jobs, &entry))
        if (!take_entry(r, &entry))
            break;
    while (dr_pipeline_in_flight(r->pipeline) > 0 && !interrupted && !is_broken(r)) {
        show(r);
        dr_pipeline_drain(r->pipeline, 100);
    }
}

/* --- the end --------------------------------------------------------------------------------- */

/* How many pictures there are, and with `picture` which. */
static int pictures_of(const render *r, dr_sheet_picture *picture)
{
    const dr_render_entry *e;
    int count = 0;

    for (long i = 0; (e = dr_render_list_at(r->list, i)); i++)
        for (int image = 0; e->done && image < e->images; image++, count++) {
            if (!picture)
                continue;
            const dr_job job = { .id = e->id, .images = e->images, .format = e->format };
            char name[DR_PICTURE_NAME_MAX];
            dr_picture_file_name(name, &job, image);
            picture[count] = (dr_sheet_picture){ .path = g_build_filename(r->target.folder, name, NULL),
                                                 .label = e->label,
                                                 .id = e->id,
                                                 .seed = e->seed + (uint64_t)image };
        }
    return count;
}

static dr_status write_sheet(render *r, dr_error *err)
{
    const int count = pictures_of(r, NULL);
    dr_sheet_picture *picture;
    dr_sheet_pages pages;
    dr_status rc;
    char text[512];

    if (count == 0)
        return DR_OK;
    picture = calloc((size_t)count, sizeof(*picture));
    if (!picture)
        return dr_fail(err, DR_ENOMEM, "no memory for the contact sheet");
    pictures_of(r, picture);
    rc = dr_contact_sheet_write(r->target.folder, picture, count, &pages, err);
    if (!rc) {
        dr_contact_sheet_text(text, sizeof(text), r->target.folder, &pages);
        fputs(text, stderr);
    }
    for (int i = 0; i < count; i++)
        g_free((char *)(uintptr_t)picture[i].path);
    free(picture);
    return rc;
}

static void say_end(const render *r)
{
    const dr_progress_state *p = &r->progress;
    char rate[48];

    if (r->one && p->failed && !interrupted)
        return; /* what failed has been said, and is all there is to say */
    dr_progress_rate(rate, sizeof(rate), p->pictures, p->seconds);
    if (interrupted)
        fprintf(stderr, "interrupted: ");
    if (!r->one)
        fprintf(stderr, "%ld done, %ld done before, %ld failed; ", p->done, p->skipped, p->failed);
    else if (p->skipped)
        fprintf(stderr, "done before; ");
    fprintf(stderr, "%ld picture%s in %.1f s", p->pictures, p->pictures == 1 ? "" : "s", p->seconds);
    if (p->pictures > 0)
        fprintf(stderr, ", %s", rate);
    fputc('\n', stderr);
}

static int finish(render *r, const dr_config *config)
{
    const dr_progress_state *p = &r->progress;
    dr_error err = r->broken;
    dr_status rc = r->broken.status;
    int code = DR_EXIT_DONE;

    r->progress.seconds = dr_clock_s() - r->start_s;
    dr_progress_bar_clear(&r->bar);
    if (!rc && r->results)
        rc = dr_results_compact(r->results, &err);
    if (!rc && config->sheet && !r->one)
        rc = write_sheet(r, &err);
    say_end(r);
    if (rc)
        code = dr_cli_failed(&dr_cmd_render, &err); /* the last line says why it ended */
    if (code == DR_EXIT_DEVICE)
        return code;
    if (interrupted && code == DR_EXIT_DONE)
        return DR_EXIT_INTERRUPTED;
    return p->failed ? DR_EXIT_FAILED : code;
}

static dr_status open_jobs(render *r, dr_cli *cli, dr_error *err)
{
    const dr_render_jobs_options options = {
        .path = cli->config.jobs,
        .models = cli->config.models,
        .job = cli->job,
        .defaults = cli->defaults,
    };
    dr_status rc = dr_render_target_of(&r->target, cli->config.out, r->one, err);

    if (!rc) {
        cli->job = NULL;
        rc = dr_render_jobs_open(&r->jobs, &options, &r->target, err);
    }
    if (!rc)
        rc = dr_setup_check_models(&cli->config, err);
    if (!rc)
        r->progress.total = dr_render_jobs_count(r->jobs);
    return rc;
}

/* NULL: there are none, for the device draws without. */
static const char *models_of(const dr_config *config)
{
    return strcmp(config->device, "null") == 0 ? NULL : config->models;
}

static dr_status open_files(render *r, const dr_config *config, dr_error *err)
{
    dr_status rc;

    if (r->target.stem)
        return dr_folder_make(r->target.folder, err);
    rc = dr_results_open(&r->results, r->target.folder, err);
    return rc ? rc : dr_render_list_open(&r->list, r->target.folder, r->results, models_of(config), err);
}

/* What is in the folder is looked at; nothing is made. */
static int dry_run(render *r, const dr_config *config)
{
    dr_error err;
    dr_status rc = DR_OK;
    long wrong = 0;

    if (!r->target.stem)
        rc = dr_results_look(&r->results, r->target.folder, &err);
    if (!rc && !r->target.stem)
        rc = dr_render_list_open(&r->list, r->target.folder, r->results, models_of(config), &err);
    if (!rc)
        rc = dr_render_dry_run(r->jobs, r->list, config, &wrong, &err);
    if (rc)
        return dr_cli_failed(&dr_cmd_render, &err);
    return wrong ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

static dr_status run_all(render *r, const dr_config *config, dr_error *err)
{
    dr_pipeline_options options = dr_setup_pipeline(config);
    dr_status rc;

    options.on_result = take_result;
    options.on_event = take_event;
    options.arg = r;
    rc = dr_pipeline_start(&r->pipeline, &options, err);
    if (rc)
        return rc;
    /* From here on the bar says enough; batch by batch it would be torn. */
    if (isatty(STDERR_FILENO) && config->log_level == DR_LOG_INFO)
        dr_log_set(DR_LOG_WARN, (dr_log_form)config->log_format);
    take_entries(r);
    dr_pipeline_stop(r->pipeline);
    return dr_render_jobs_status(r->jobs, err);
}

static int draw(render *r, const dr_config *config)
{
    const struct sigaction action = { .sa_handler = on_signal };
    dr_error err;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    dr_progress_bar_open(&r->bar);
    if (open_files(r, config, &err))
        return err.retriable ? dr_cli_failed(&dr_cmd_render, &err)
                             : dr_cli_usage(&dr_cmd_render, "%s", err.text);
    if (run_all(r, config, &err))
        return !r->pipeline && err.status == DR_EINVAL ? dr_cli_usage(&dr_cmd_render, "%s", err.text)
                                                       : dr_cli_failed(&dr_cmd_render, &err);
    return finish(r, config);
}

static int run(dr_cli *cli)
{
    const dr_config *config = &cli->config;
    render r = { .one = !*config->jobs, .start_s = dr_clock_s() };
    dr_error err;
    int code;

    if (dr_cli_check_jobs(&dr_cmd_render, cli) != DR_EXIT_DONE)
        return DR_EXIT_USAGE;
    if (!*config->out)
        return dr_cli_usage(&dr_cmd_render,
                            "--out is missing: a folder, or of one job in flags its picture, x.png");
    if (dr_pictures_start(&err))
        return dr_cli_failed(&dr_cmd_render, &err);
    pthread_mutex_init(&r.lock, NULL);
    r.running = g_hash_table_new(NULL, NULL);
    if (open_jobs(&r, cli, &err))
        code = err.retriable ? dr_cli_failed(&dr_cmd_render, &err)
                             : dr_cli_usage(&dr_cmd_render, "%s", err.text);
    else
        code = config->dry_run ? dry_run(&r, config) : draw(&r, config);
    dr_render_jobs_close(r.jobs);
    dr_render_list_close(r.list);
    dr_results_close(r.results);
    dr_render_target_free(&r.target);
    g_hash_table_unref(r.running);
    pthread_mutex_destroy(&r.lock);
    dr_pictures_stop();
    return code;
}

const dr_command dr_cmd_render = {
    .name = "render",
    .bit = DR_FOR_RENDER,
    .takes_job = true,
    .summary = "draw a file of jobs into a folder, or one job into a picture, without Kafka",
    .text =
        "A job in flags: --out names its picture (.png, .jpg, .webp) or a folder. A file of jobs: each line "
        "is a JSON "
        "object with the fields below, a row of a .csv that names them, or a prompt of a .txt; a line "
        "without an id is called line-NNNNNN. The folder gets <id>.png for each job, or <id>@0.png ... of "
        "several "
        "images, a line for each in results.jsonl, and contact-sheet.png. Run again, it does what is not "
        "done yet.",
    .example =
        "darkroom render --model tiny --prompt \"a cat face on a teal background\" --out cat.png\n"
        "  darkroom render --jobs prompts.txt --set model=sd15 --set steps=30 --out pictures",
    .run = run,
};
