/* cmd_collect.c - `darkroom collect`: results from Kafka into a folder.
 *
 *     OUT/ID.png, or of several ID@0.png ...     the pictures
 *     OUT/results.jsonl                          a line for each result
 *
 * The results topic is read from its start, committed results only.  Results that the folder has are
 * skipped, so that collect can be stopped and started again, and needs no consumer group. */
#include "worker/jobs/job_fields.h"
#include "worker/jobs/result.h"
#include "worker/kafka/kafka.h"
#include "worker/pictures/picture.h"
#include "worker/program/commands.h"
#include "worker/program/setup.h"
#include "worker/render/results_file.h"
#include "worker/support/clock.h"
#include "worker/support/files.h"
#include "worker/support/log.h"
#include "worker/support/text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MS = 200, PATH_BYTES = 4096, METADATA_MS = 1000 };

typedef struct collection {
    rd_kafka_t *rk;
    const char *topic, *out;
    dr_results_file *results; /* the folder's */
    dr_kafka_nag nag;
} collection;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* --- the folder ----------------------------------------------------------------------------- */

/* Only an id that is a safe file name: whoever writes to the topic must not choose where files go. */
static bool is_safe_id(const char *id)
{
    return dr_name_valid(id, strlen(id));
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

static dr_status write_result(collection *c, const dr_result *r, dr_error *err)
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
    rc = dr_results_append(c->results, r->job->id, r->error.status == DR_OK, line, err);
    free(line);
    return rc;
}

/* Check that the message's key is the job's id, and that its pictures are those that were drawn. */
static dr_status check_result(const dr_result *r, const rd_kafka_message_t *m, dr_error *err)
{
    const char *id = r->job->id;
    char hex[65];

    if (!is_safe_id(id))
        return dr_fail(err, DR_EFORMAT, "a result whose id is not allowed");
    if (m->key_len != strlen(id) || memcmp(m->key, id, m->key_len) != 0)
        return dr_fail(err, DR_EFORMAT, "a result of job %s has another job's key", id);
    for (int i = 0; i < r->pictures; i++) {
        dr_sha256_hex(hex, r->picture[i].bytes, r->picture[i].size);
        if (strcmp(hex, r->picture[i].sha256) != 0)
            return dr_fail(err, DR_EFORMAT, "job %s: picture %d does not have the bytes of its hash", id, i);
        if (r->picture[i].format != r->job->format)
            return dr_fail(err, DR_EFORMAT, "job %s: picture %d has another format than the job", id, i);
    }
    if (r->error.status == DR_OK && r->pictures != r->job->images)
        return dr_fail(err, DR_EFORMAT, "job %s: it has %d of %d pictures", id, r->pictures, r->job->images);
    return DR_OK;
}

/* Whether the folder has this result, or a better one.  A success stays.  A failure stays until a success
 * of the same id comes: then the job was sent again. */
static bool folder_has(const collection *c, const dr_result *r)
{
    const char *id = r->job->id;

    return dr_results_succeeded(c->results, id) || (r->error.status && dr_results_has(c->results, id));
}

/* Take one message.  If it is no result, log that and go on.  DR_ENOMEM, or DR_EIO where the folder can't
 * be written to: collect ends, and reads the message again when it is started again. */
static dr_status take_message(collection *c, const rd_kafka_message_t *m, dr_error *err)
{
    dr_result *r = NULL;
    dr_status rc;
    dr_error why;

    rc = dr_result_decode(&r, m->payload, m->len, &why);
    if (!rc)
        rc = check_result(r, m, &why);
    if (rc == DR_ENOMEM) {
        *err = why;
        dr_result_free(r);
        return rc;
    }
    if (rc) {
        dr_log_warn("collect", "%s[%d] offset %" PRId64 ": %s", c->topic, (int)m->partition, m->offset,
                    why.text);
        dr_result_free(r);
        return DR_OK;
    }
    if (!folder_has(c, r)) {
        rc = write_result(c, r, err);
        if (!rc) {
            printf("%s %s\n", r->job->id, dr_result_state_name(r));
            if (r->error.status)
                dr_text_print(stdout, "    %s", r->error.text);
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
    dr_status rc = dr_setup_kafka(&options, config, err);

    if (!rc)
        rc = dr_kafka_reader(&c->rk, &options, "darkroom-collect", err);
    dr_kafka_options_free(&options);
    return rc;
}

/* Take all partitions of the topic.  False: the broker does not know them yet. */
static bool assign_all(collection *c)
{
    dr_error err;

    if (dr_kafka_assign_all(c->rk, c->topic, METADATA_MS, &err) == DR_OK)
        return true;
    if (dr_kafka_nag_due(&c->nag))
        dr_log_warn("collect", "%s; still trying", err.text);
    return false;
}

static dr_status fail_late(const collection *c, const dr_config *config, dr_error *err)
{
    const size_t has = dr_results_count(c->results);

    return config->count
               ? dr_fail(err, DR_EEXPIRED, "no result for %d s; the folder has %zu of %d", config->timeout_s,
                         has, config->count)
               : dr_fail(err, DR_EEXPIRED, "no result for %d s; the folder has %zu", config->timeout_s, has);
}

/* DR_EEXPIRED: no result for timeout_s. */
static dr_status collect_all(collection *c, const dr_config *config, dr_error *err)
{
    const int64_t patience_ms = config->timeout_s > 0 ? (int64_t)config->timeout_s * 1000 : INT64_MAX / 2;
    int64_t until_ms = dr_clock_ms() + patience_ms;
    bool assigned = false;

    while (!interrupted && (config->count == 0 || dr_results_count(c->results) < (size_t)config->count)) {
        rd_kafka_message_t *m;
        dr_status rc = DR_OK;
        if (dr_clock_ms() > until_ms)
            return fail_late(c, config, err);
        if (!assigned && !(assigned = assign_all(c)))
            continue;
        m = rd_kafka_consumer_poll(c->rk, POLL_MS);
        if (m && !m->err) {
            until_ms = dr_clock_ms() + patience_ms;
            rc = take_message(c, m, err);
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
    dr_status rc = dr_results_open(&c->results, c->out, err);

    if (!rc)
        rc = open_consumer(c, config, err);
    if (!rc)
        rc = collect_all(c, config, err);
    return rc ? rc : dr_results_compact(c->results, err);
}

static int run(dr_cli *cli)
{
    const dr_config *config = &cli->config;
    collection c = { .topic = config->results_topic, .out = config->out };
    bool failed;
    dr_error err;
    dr_status rc;

    if (dr_cli_check_out(&dr_cmd_collect, cli))
        return DR_EXIT_USAGE;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    rc = collect(&c, config, &err);
    if (c.rk)
        dr_kafka_end_reader(c.rk);
    failed = c.results && dr_results_failures(c.results) > 0;
    dr_results_close(c.results);
    if (rc)
        return rc == DR_EINVAL ? dr_cli_usage(&dr_cmd_collect, "%s", err.text)
                               : dr_cli_failed(&dr_cmd_collect, &err);
    if (interrupted && config->count > 0)
        return DR_EXIT_INTERRUPTED;
    return failed ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

const dr_command dr_cmd_collect = {
    .name = "collect",
    .bit = DR_FOR_COLLECT,
    .summary = "Write results from Kafka into a folder",
    .text =
        "Writes OUT/<id>.png for each picture, and a line for each result into OUT/results.jsonl. It "
        "reads the topic from its start and skips the results that results.jsonl has. It does not check "
        "that the pictures are still there. A success takes the place of an earlier failure of the "
        "same id.\n"
        "--count counts the ids in results.jsonl, those of failures and of earlier runs too. Exit code 1 "
        "means that a job in the folder has failed, or that no result came for --timeout-s.",
    .example = "darkroom collect --brokers kafka-1:9092 --out pictures --count 100",
    .run = run,
};
