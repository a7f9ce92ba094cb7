/* cmd_demo.c - everything at once, in one process: a broker, a worker, a producer and a consumer.
 *
 *     OUT/demo-jobs.jsonl -> submit -> [mock broker: jobs] -> worker -> [results] -> collect -> OUT
 *
 * The broker is the mock cluster with which librdkafka tests itself.  The others are the same code as
 * `darkroom worker`, `submit` and `collect`. */
#include "worker/engine/model_folders.h"
#include "worker/jobs/job_fields.h"
#include "worker/kafka/mock_broker.h"
#include "worker/pictures/contact_sheet.h"
#include "worker/pictures/picture.h"
#include "worker/program/commands.h"
#include "worker/program/setup.h"
#include "worker/support/files.h"
#include "worker/support/log.h"

#include "model/config.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARTITIONS = 2, DRAIN_MS = 10000, PATIENCE_S = 300 };

/* Three groups of jobs that can share a batch: their size and step count are equal.  models/tiny knows the
 * names and colours, and draws them well.  Seeds are given, so that they are short enough to read.  The
 * last job names no colour: each of its seeds gives another one. */
static const struct {
    const char *id, *prompt;
    int width, height, steps, seed;
    const char *more;
    int images;
    dr_picture_format format;
} demo_jobs[] = {
    { "cat", "a cat face on a purple background", 128, 128, 20, 5, "", 1, DR_PNG },
    { "clock", "an alarm clock on a teal background", 128, 128, 20, 22, ",\"sampler\":\"unipc\"", 1, DR_PNG },
    { "ball", "a soccer ball on a red background", 128, 128, 20, 5, ",\"sampler\":\"euler_a\"", 1, DR_PNG },
    { "rocket", "a rocket on a white background", 128, 128, 20, 5, "", 1, DR_PNG },
    { "boat", "a sailboat on a green background", 144, 128, 25, 5, "", 1, DR_PNG },
    { "bus", "a bus on an orange background", 144, 128, 25, 5, "", 1, DR_PNG },
    { "car", "an automobile on a yellow background", 144, 128, 25, 22, ",\"sampler\":\"dpmpp_2m_karras\"", 1,
      DR_PNG },
    { "tree", "a christmas tree on a blue background", 128, 144, 30, 5, "", 1, DR_PNG },
    { "lollipop", "a lollipop on a green background", 128, 144, 30, 22, "", 1, DR_WEBP },
    { "ice", "an ice cream on a pink background", 128, 144, 30, 5, "", 1, DR_PNG },
    { "mushroom", "a mushroom", 128, 128, 20, 300, ",\"negative_prompt\":\"blue background\"", 2, DR_PNG },
};
enum { JOBS = sizeof(demo_jobs) / sizeof(demo_jobs[0]) };

typedef struct demo {
    dr_cli *cli; /* for submit and collect; its job is empty */
    dr_config *config;
    char model[DR_FOLDER_NAME_BYTES_MAX + 1];
    char *jobs_path, *results_path;
    dr_mock_broker *broker;
    dr_service *service;
    dr_kafka_options kafka;
} demo;

/* --- before --------------------------------------------------------------------------------- */

static bool draws_from_text(const char *models_dir, const char *name)
{
    char *path = g_build_filename(models_dir, name, NULL);
    dr_model_config config;
    const bool good = dr_model_config_read(&config, path, NULL) == DR_OK &&
                      strcmp(config.class_name, "StableDiffusionPipeline") == 0;

    g_free(path);
    return good;
}

/* The first model of the folder that draws from text.  The null device needs none. */
static dr_status choose_model(demo *d, dr_error *err)
{
    dr_model_names names;
    dr_status rc;

    snprintf(d->model, sizeof(d->model), "%s", strcmp(d->config->device, "null") == 0 ? "null" : "");
    if (*d->model)
        return DR_OK;
    rc = dr_model_names_read(&names, d->config->models, err);
    for (int i = 0; !rc && i < names.count && !*d->model; i++)
        if (draws_from_text(d->config->models, names.name[i]))
            snprintf(d->model, sizeof(d->model), "%s", names.name[i]);
    if (!rc)
        dr_model_names_free(&names);
    if (!rc && !*d->model)
        rc =
            dr_fail(err, DR_ENOTFOUND, "%s: the folder has no model that draws from text", d->config->models);
    return rc;
}

/* Remove the results of an earlier demo.  Refuse a folder with results of another command. */
static dr_status clear_folder(const demo *d, dr_error *err)
{
    if (access(d->results_path, F_OK) == 0 && access(d->jobs_path, F_OK) != 0)
        return dr_fail(err, DR_EINVAL, "%s is there, and is not a demo's: name another folder with --out",
                       d->results_path);
    unlink(d->results_path);
    return DR_OK;
}

static dr_status write_jobs(const demo *d, dr_error *err)
{
    GString *text = g_string_new("");
    dr_status rc;

    for (int i = 0; i < JOBS; i++)
        g_string_append_printf(
            text,
            "{\"id\":\"%s\",\"model\":\"%s\",\"prompt\":\"%s\",\"width\":%d,\"height\":%d,\"steps\":%d,"
            "\"guidance_scale\":5,\"seed\":%d,\"images\":%d,\"format\":\"%s\"%s}\n",
            demo_jobs[i].id, d->model, demo_jobs[i].prompt, demo_jobs[i].width, demo_jobs[i].height,
            demo_jobs[i].steps, demo_jobs[i].seed, demo_jobs[i].images,
            dr_picture_format_name(demo_jobs[i].format), demo_jobs[i].more);
    rc = dr_file_write(d->jobs_path, text->str, text->len, err);
    g_string_free(text, TRUE);
    return rc;
}

static dr_status set_config(dr_config *config, const char *name, const char *value, dr_error *err)
{
    return dr_config_set(config, dr_setting_find(name), value, "demo", err);
}

/* --- the parts -------------------------------------------------------------------------------- */

static dr_status open_broker(demo *d, dr_error *err)
{
    const dr_config *c = d->config;
    const char *const topics[] = { c->jobs_topic, c->results_topic, c->events_topic, c->control_topic,
                                   c->dead_letters_topic };
    dr_status rc = dr_mock_broker_open(&d->broker, 1, err);

    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]) && !rc; i++)
        rc = dr_mock_broker_topic(d->broker, topics[i], PARTITIONS, err);
    return rc ? rc : set_config(d->config, "brokers", dr_mock_broker_bootstrap(d->broker), err);
}

static dr_status open_worker(demo *d, dr_error *err)
{
    dr_service_options options = dr_setup_service(d->config, "demo");
    dr_status rc = dr_setup_kafka(&d->kafka, d->config, err);

    options.kafka = d->kafka;
    return rc ? rc : dr_service_start(&d->service, &options, err);
}

static dr_status prepare_folder(demo *d, dr_error *err)
{
    char count[16], patience[16];
    dr_status rc = choose_model(d, err);

    snprintf(count, sizeof(count), "%d", JOBS);
    snprintf(patience, sizeof(patience), "%d", PATIENCE_S);
    if (!rc)
        rc = dr_folder_make(d->config->out, err);
    if (!rc)
        rc = clear_folder(d, err);
    if (!rc)
        rc = write_jobs(d, err);
    if (!rc)
        rc = set_config(d->config, "jobs", d->jobs_path, err);
    if (!rc)
        rc = set_config(d->config, "count", count, err);
    if (!rc)
        rc = set_config(d->config, "timeout_s", patience, err);
    return rc;
}

static dr_status write_sheet(const demo *d, dr_error *err)
{
    dr_sheet_picture picture[JOBS * DR_IMAGES_MAX];
    dr_sheet_pages pages;
    dr_status rc;
    int count = 0;

    for (int i = 0; i < JOBS; i++) {
        const dr_job job = {
            .id = (char *)(uintptr_t)demo_jobs[i].id,
            .format = demo_jobs[i].format,
            .images = demo_jobs[i].images,
        };
        for (int image = 0; image < job.images; image++) {
            char name[DR_PICTURE_NAME_MAX];
            dr_picture_file_name(name, &job, image);
            picture[count++] = (dr_sheet_picture){ .path = g_build_filename(d->config->out, name, NULL),
                                                   .label = demo_jobs[i].prompt,
                                                   .id = job.id,
                                                   .seed = (uint64_t)(demo_jobs[i].seed + image) };
        }
    }
    rc = dr_contact_sheet_write(d->config->out, picture, count, &pages, err);
    for (int i = 0; i < count; i++)
        g_free((char *)(uintptr_t)picture[i].path);
    return rc;
}

/* Print the path as an address, which terminals and browsers can open. */
static void say_where(const demo *d)
{
    char *folder = g_canonicalize_filename(d->config->out, NULL), *path, *address, name[DR_SHEET_NAME_MAX];

    dr_contact_sheet_name(name, 1);
    path = d->config->sheet ? g_build_filename(folder, name, NULL) : g_strdup(folder);
    address = g_filename_to_uri(path, NULL, NULL);
    printf("\nThe pictures are in %s.\nLook at: %s\n", d->config->out, address ? address : path);
    g_free(address);
    g_free(path);
    g_free(folder);
}

static dr_status run_all(demo *d, dr_error *err)
{
    const dr_pipeline_options pipeline = dr_setup_pipeline(d->config);
    dr_status rc = dr_engine_check_device(&pipeline.engine, err); /* before anything is said or begun */

    if (!rc)
        rc = prepare_folder(d, err);
    if (!rc)
        rc = open_broker(d, err);
    if (rc)
        return rc;
    printf("broker     librdkafka's mock cluster, in this process, at %s\n", d->config->brokers);
    printf("worker     model %s of %s\n", d->model, d->config->models);
    printf("producer   %d jobs of %s to %s\n", JOBS, d->jobs_path, d->config->jobs_topic);
    printf("consumer   results from %s to %s\n\n", d->config->results_topic, d->config->out);
    fflush(stdout);
    rc = open_worker(d, err);
    if (!rc && dr_cmd_submit.run(d->cli) != DR_EXIT_DONE)
        rc = dr_fail(err, DR_EIO, "the jobs could not be sent");
    if (!rc && dr_cmd_collect.run(d->cli) != DR_EXIT_DONE)
        rc = dr_fail(err, DR_EIO, "not every job succeeded");
    if (!rc) {
        dr_service_close_intake(d->service);
        dr_service_drain(d->service, DRAIN_MS);
        if (d->config->sheet)
            rc = write_sheet(d, err);
    }
    if (!rc)
        say_where(d);
    return rc;
}

static int run(dr_cli *cli)
{
    demo d = { .cli = cli, .config = &cli->config };
    dr_error err;
    dr_status rc = DR_OK;

    if (d.config->log_level == DR_LOG_INFO)
        dr_log_show("batch"); /* a demo shows how jobs share batches */
    cli->sent = " sent";      /* a person reads it; a script wants the bare id */
    cli->job = dr_job_create();
    cli->defaults = dr_job_create();
    if (!cli->job || !cli->defaults)
        rc = dr_fail(&err, DR_ENOMEM, "no memory for a job");
    if (!rc && !*d.config->out)
        rc = set_config(d.config, "out", "darkroom-demo", &err);
    if (!rc && dr_cli_check_out(&dr_cmd_demo, cli))
        return DR_EXIT_USAGE;
    if (!rc)
        rc = dr_pictures_start(&err);
    if (rc)
        return dr_cli_failed(&dr_cmd_demo, &err);
    d.jobs_path = g_build_filename(d.config->out, "demo-jobs.jsonl", NULL);
    d.results_path = g_build_filename(d.config->out, "results.jsonl", NULL);
    rc = run_all(&d, &err);
    dr_service_stop(d.service);
    dr_kafka_options_free(&d.kafka);
    dr_mock_broker_close(d.broker);
    g_free(d.jobs_path);
    g_free(d.results_path);
    dr_pictures_stop();
    return rc ? dr_cli_failed(&dr_cmd_demo, &err) : DR_EXIT_DONE;
}

const dr_command dr_cmd_demo = {
    .name = "demo",
    .bit = DR_FOR_DEMO,
    .summary = "Run a broker, a worker, a producer and a consumer in one process, and leave pictures",
    .text =
        "Writes jobs, pictures, results.jsonl and a contact sheet into --out, which is darkroom-demo by "
        "default. Without a model, say --device null.",
    .example = "darkroom demo --out demo",
    .run = run,
};
