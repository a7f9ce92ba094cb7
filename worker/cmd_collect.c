/* cmd_collect.c - `darkroom collect`: results from Kafka into a folder.
 *
 *     OUT/ID.png (ID@0.png, ... of several)     the pictures
 *     OUT/results.jsonl                         a line a result
 *
 * Reads the results topic from its start, committed results only, and skips those that the folder has: it can
 * be stopped and started again, and needs no group. */
#include "worker/clock.h"
#include "worker/commands.h"
#include "worker/files.h"
#include "worker/job_fields.h"
#include "worker/kafka.h"
#include "worker/log.h"
#include "worker/result.h"
#include "worker/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MS = 200, PATH_BYTES = 4096, METADATA_MS = 1000 };

typedef struct collection {
    rd_kafka_t *rk;
    const char *topic, *out;
    char lines_path[PATH_BYTES];
    int lines;   /* results.jsonl */
    json_t *ids; /* an object: the results that the folder has */
    int failed;
    dr_kafka_nag nag;
} collection;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* --- the folder ----------------------------------------------------------------------------- */

static dr_status read_ids(collection *c, dr_error *err)
{
    FILE *file = fopen(c->lines_path, "r");
    char *line = NULL;
    size_t room = 0;

    c->ids = json_object();
    if (!c->ids)
        return dr_fail(err, DR_ENOMEM, "collect: no memory");
    while (file && getline(&line, &room, file) > 0) {
        json_t *result = json_loads(line, 0, NULL);
        const char *id = json_string_value(json_object_get(result, "id"));
        if (id)
            json_object_set_new(c->ids, id, json_true());
        json_decref(result);
    }
    free(line);
    if (file)
        fclose(file);
    return DR_OK;
}

/* What comes from a topic does not choose where files go. */
static bool is_safe_id(const char *id)
{
    dr_job *scratch = dr_job_create();
    dr_refusal refusal;
    dr_error err;
    bool safe;

    safe = scratch && !dr_job_set_text(scratch, dr_job_field_find("id"), id, &refusal, &err);
    dr_job_free(scratch);
    return safe;
}

static dr_status write_pictures(const collection *c, const dr_result *r, char (*names)[DR_PICTURE_NAME_MAX],
                                dr_error *err)
{
    char path[PATH_BYTES];
    dr_status rc = DR_OK;

    for (int i = 0; i < r->pictures && !rc; i++) {
        dr_picture_file_name(names[i], r->job, i);
        if (snprintf(path, sizeof(path), "%s/%s", c->out, names[i]) >= (int)sizeof(path))
            return dr_fail(err, DR_EINVAL, "%s: too long a path", c->out);
        rc = dr_file_write(path, r->picture[i].bytes, r->picture[i].size, err);
    }
    return rc;
}

static dr_status keep(collection *c, const dr_result *r, dr_error *err)
{
    char names[DR_IMAGES_MAX][DR_PICTURE_NAME_MAX];
    const char *files[DR_IMAGES_MAX];
    dr_status rc = write_pictures(c, r, names, err);
    char *line;

    if (rc)
        return rc;
    for (int i = 0; i < r->pictures; i++)
        files[i] = names[i];
    line = dr_result_json(r, files);
    if (!line)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for its line", r->job->id);
    rc = dr_lines_append(c->lines, c->lines_path, line, err);
    free(line);
    return rc;
}

/* A message that is not a result is told and passed; only a folder that can't be written to is an error. */
static dr_status collect_one(collection *c, const rd_kafka_message_t *m, dr_error *err)
{
    dr_result *r = NULL;
    dr_status rc = DR_OK;

    if (dr_result_decode(&r, m->payload, m->len, err) || !is_safe_id(r->job->id)) {
        dr_log_warn("collect", "%s[%d] offset %" PRId64 " is not a result", c->topic, (int)m->partition,
                    m->offset);
        dr_result_free(r);
        return DR_OK;
    }
    if (!json_object_get(c->ids, r->job->id)) {
        rc = keep(c, r, err);
        if (!rc) {
            json_object_set_new(c->ids, r->job->id, json_true());
            printf("%s %s\n", r->job->id, dr_result_state_name(r));
            if (r->error.status) {
                c->failed++;
                dr_text_print(stdout, "    %s", r->error.text);
            }
            fflush(stdout);
        }
    }
    dr_result_free(r);
    return rc;
}

/* --- Kafka ------------------------------------------------------------------------------------ */

static dr_status open_consumer(collection *c, const dr_config *config, dr_error *err)
{
    dr_kafka_options options;
    dr_status rc = dr_kafka_options_from(&options, config, err);

    if (!rc)
        rc = dr_kafka_reader(&c->rk, &options, "darkroom-collect", err);
    dr_kafka_options_free(&options);
    return rc;
}

/* False: not yet. */
static bool assign_all(collection *c)
{
    dr_error err;

    if (dr_kafka_assign_all(c->rk, c->topic, METADATA_MS, &err) == DR_OK)
        return true;
    if (dr_kafka_nag_due(&c->nag))
        dr_log_warn("collect", "%s; still trying", err.text);
    return false;
}

/* DR_EXPIRED: no result for timeout_s. */
static dr_status collect_all(collection *c, const dr_config *config, dr_error *err)
{
    const int64_t patience_ms = config->timeout_s > 0 ? (int64_t)config->timeout_s * 1000 : INT64_MAX / 2;
    int64_t until_ms = dr_clock_ms() + patience_ms;
    bool assigned = false;

    while (!interrupted && (config->count == 0 || json_object_size(c->ids) < (size_t)config->count)) {
        rd_kafka_message_t *m;
        dr_status rc = DR_OK;
        if (dr_clock_ms() > until_ms)
            return dr_fail(err, DR_EEXPIRED, "no result for %d s; has %zu of %d", config->timeout_s,
                           json_object_size(c->ids), config->count);
        if (!assigned && !(assigned = assign_all(c)))
            continue;
        m = rd_kafka_consumer_poll(c->rk, POLL_MS);
        if (m && !m->err) {
            until_ms = dr_clock_ms() + patience_ms;
            rc = collect_one(c, m, err);
        } else if (m && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && dr_kafka_nag_due(&c->nag)) {
            dr_log_warn("collect", "%s: %s; still trying", c->topic, rd_kafka_message_errstr(m));
        }
        if (m)
            rd_kafka_message_destroy(m);
        if (rc)
            return rc;
    }
    return DR_OK;
}

static dr_status collect(collection *c, const dr_config *config, dr_error *err)
{
    dr_status rc = dr_folder_make(c->out, err);

    if (rc)
        return rc;
    if (snprintf(c->lines_path, sizeof(c->lines_path), "%s/results.jsonl", c->out) >=
        (int)sizeof(c->lines_path))
        return dr_fail(err, DR_EINVAL, "%s: too long a path", c->out);
    rc = dr_lines_open(&c->lines, c->lines_path, err);
    if (!rc)
        rc = read_ids(c, err);
    if (!rc)
        rc = open_consumer(c, config, err);
    return rc ? rc : collect_all(c, config, err);
}

static int run(dr_cli *cli)
{
    const dr_config *config = &cli->config;
    collection c = { .topic = config->results_topic, .out = config->out, .lines = -1 };
    dr_error err;
    dr_status rc;

    if (!*config->out)
        return dr_cli_usage(&dr_cmd_collect, "--out FOLDER is missing");
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    rc = collect(&c, config, &err);
    if (c.rk) {
        rd_kafka_destroy_flags(c.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group */
    }
    if (c.lines >= 0)
        close(c.lines);
    json_decref(c.ids);
    if (rc)
        return rc == DR_EINVAL ? dr_cli_usage(&dr_cmd_collect, "%s", err.text)
                               : dr_cli_failed(&dr_cmd_collect, &err);
    if (interrupted && config->count > 0)
        return DR_EXIT_INTERRUPTED;
    return c.failed ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

const dr_command dr_cmd_collect = {
    .name = "collect",
    .bit = DR_FOR_COLLECT,
    .summary = "write results from Kafka into a folder",
    .text =
        "Writes OUT/ID.png and a line a result to OUT/results.jsonl; reads the topic from its start and "
        "skips what "
        "the folder has. It fails where a job had failed, or no result came for --timeout-s.",
    .example = "darkroom collect --brokers kafka-1:9092 --out pictures --count 100",
    .run = run,
};
