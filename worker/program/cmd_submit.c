/* cmd_submit.c - `darkroom submit`: jobs from flags or a file onto the jobs topic.
 *
 * A job is checked by the same table as in the worker, and sent with its id as the key.  Its id is printed
 * when every replica has it.  Lines that are no jobs are reported by number; the others are sent. */
#include "worker/jobs/job_fields.h"
#include "worker/kafka/kafka.h"
#include "worker/program/commands.h"
#include "worker/program/setup.h"
#include "worker/render/jobs_file.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"
#include "worker/support/text.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { POLL_MS = 200 };

typedef struct submission {
    rd_kafka_t *rk;
    const char *topic;
    int64_t until_ms; /* INT64_MAX: no limit */
    const char *tail; /* printed after each id */
    int sent, failed;
    dr_kafka_nag nag;
} submission;

/* librdkafka calls this when the broker has the message, or when it gives the message up. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    const bool given_up =
        m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    submission *s = opaque;

    (void)rk;
    if (m->err) {
        fprintf(stderr, "darkroom submit: %.*s: %s\n", (int)m->key_len, (const char *)m->key,
                given_up ? "the broker did not take it in time" : rd_kafka_err2str(m->err));
        s->failed++;
        return;
    }
    printf("%.*s%s\n", (int)m->key_len, (const char *)m->key, s->tail);
    s->sent++;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    submission *s = opaque;

    (void)rk;
    if (dr_kafka_nag_due(&s->nag))
        dr_log_warn("submit", "%s: %s; still trying", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static dr_status open_producer(submission *s, const dr_config *c, dr_error *err)
{
    dr_kafka_options options;
    rd_kafka_conf_t *conf = NULL;
    char timeout_ms[24];
    dr_status rc = dr_setup_kafka(&options, c, err);

    if (rc)
        return rc;
    rc = dr_kafka_conf(&conf, DR_KAFKA_IDEMPOTENT, &options, err);
    dr_kafka_options_free(&options);
    if (rc)
        return rc;
    snprintf(timeout_ms, sizeof(timeout_ms), "%" PRId64, (int64_t)c->timeout_s * 1000); /* 0: no limit */
    rc = dr_kafka_conf_set(conf, "message.timeout.ms", timeout_ms, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return dr_kafka_create(&s->rk, RD_KAFKA_PRODUCER, conf, err);
}

static dr_status send_job(submission *s, const dr_job *job, dr_error *err)
{
    rd_kafka_resp_err_t code;
    void *bytes;
    size_t size;
    const dr_status rc = dr_job_encode(job, &bytes, &size, err);

    if (rc)
        return rc;
    do {
        code = rd_kafka_producev(s->rk, RD_KAFKA_V_TOPIC(s->topic), RD_KAFKA_V_KEY(job->id, strlen(job->id)),
                                 RD_KAFKA_V_VALUE(bytes, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                 RD_KAFKA_V_HEADER("content-type", "application/x-protobuf", -1),
                                 RD_KAFKA_V_END);
        rd_kafka_poll(s->rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? POLL_MS : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && dr_clock_ms() < s->until_ms);
    free(bytes);
    if (code)
        return dr_fail(err, DR_EIO, "job %s: %s", job->id, rd_kafka_err2str(code));
    return DR_OK;
}

static void random_id(char id[21])
{
    uint64_t random;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        random = (uint64_t)dr_clock_ms();
    snprintf(id, 21, "job-%016" PRIx64, random);
}

/* --- where jobs come from ------------------------------------------------------------------- */

/* Send a job, unless its id was sent before: readers of results would keep only one of the two. */
static dr_status send_first(submission *s, GHashTable *lines, const dr_jobs_entry *e, dr_error *err)
{
    const size_t earlier = GPOINTER_TO_SIZE(g_hash_table_lookup(lines, e->job->id));

    if (earlier)
        return dr_fail(err, DR_EINVAL, "id: %s was on line %zu already", e->job->id, earlier);
    g_hash_table_insert(lines, g_strdup(e->job->id), GSIZE_TO_POINTER((size_t)e->line));
    return send_job(s, e->job, err);
}

/* Only the workers know which models there are: their folder may be on another machine. */
static dr_status check_model(const dr_job *job, const char *flag, dr_error *err)
{
    if (dr_job_given(job, dr_job_field_find("model")))
        return DR_OK;
    return dr_fail(err, DR_EINVAL,
                   "%s is missing: it says which model draws, by its folder's name at the workers", flag);
}

/* Open the file, and check what can be checked before the first job is read.  Borrows prefix.  On success
 * *file is the caller's; on failure it is NULL. */
static dr_status open_file(dr_jobs_file **file, const char *path, const char *prefix, const dr_job *defaults,
                           dr_error *err)
{
    dr_status rc = dr_jobs_file_open(file, path, prefix, err);

    if (rc)
        return rc == DR_ENOTFOUND || rc == DR_EFORMAT ? DR_EINVAL : rc;
    if (dr_jobs_file_has_prompts(*file))
        rc = check_model(defaults, "--set model=NAME", err);
    if (rc) {
        dr_jobs_file_close(*file);
        *file = NULL;
        return rc;
    }
    dr_jobs_file_set_defaults(*file, defaults);
    return DR_OK;
}

static dr_status send_file(submission *s, dr_jobs_file *file, const char *path, dr_error *err)
{
    GHashTable *lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL); /* from ids */
    dr_jobs_entry e;

    while (dr_jobs_file_next(file, &e)) {
        if (e.rc || send_first(s, lines, &e, &e.err)) {
            dr_text_print(stderr, "%s:%ld: %s", dr_jobs_file_name(path), e.line, e.err.text);
            s->failed++;
        }
        dr_job_free(e.job);
    }
    g_hash_table_unref(lines);
    return dr_jobs_file_status(file, err);
}

/* Check the job of the flags, and fill in what it lacks. */
static dr_status complete_job(dr_job *job, dr_error *err)
{
    const dr_job_field *field = dr_job_field_find("id");
    dr_refusal refusal = { 0 };
    dr_status rc = check_model(job, "--model NAME", err);
    char id[21];

    if (!rc && !dr_job_given(job, field)) {
        random_id(id);
        rc = dr_job_set_text(job, field, id, &refusal, err);
    }
    if (!rc)
        rc = dr_job_complete(job, &refusal, err);
    return rc;
}

/* --- the command -------------------------------------------------------------------------------- */

static void wait_for_all(submission *s)
{
    while (rd_kafka_outq_len(s->rk) > 0 && dr_clock_ms() < s->until_ms)
        rd_kafka_poll(s->rk, POLL_MS);
    if (rd_kafka_outq_len(s->rk) > 0) {
        rd_kafka_purge(s->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_poll(s->rk, POLL_MS);
    }
}

static int run(dr_cli *cli)
{
    const dr_config *c = &cli->config;
    submission s = { .topic = c->jobs_topic, .tail = cli->sent ? cli->sent : "", .until_ms = INT64_MAX };
    dr_jobs_file *file = NULL;
    char prefix[24];
    dr_error err;
    dr_status rc;

    if (dr_cli_check_jobs(&dr_cmd_submit, cli) != DR_EXIT_DONE)
        return DR_EXIT_USAGE;
    if (c->timeout_s > 0)
        s.until_ms = dr_clock_ms() + (int64_t)c->timeout_s * 1000;
    random_id(prefix);
    strcat(prefix, "-");
    rc = *c->jobs ? open_file(&file, c->jobs, prefix, cli->defaults, &err) : complete_job(cli->job, &err);
    if (!rc)
        rc = open_producer(&s, c, &err); /* what is wrong with the flags was said before it connects */
    if (!rc)
        rc = file ? send_file(&s, file, c->jobs, &err) : send_job(&s, cli->job, &err);
    dr_jobs_file_close(file);
    if (s.rk) {
        wait_for_all(&s);
        rd_kafka_destroy(s.rk);
    }
    if (rc == DR_EINVAL && s.sent == 0)
        return dr_cli_usage(&dr_cmd_submit, "%s", err.text);
    if (rc)
        return dr_cli_failed(&dr_cmd_submit, &err);
    return s.failed ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

const dr_command dr_cmd_submit = {
    .name = "submit",
    .bit = DR_FOR_SUBMIT,
    .takes_job = true,
    .summary = "Put jobs onto the jobs topic",
    .text =
        "Sends one job from flags, or the jobs of --jobs FILE: JSON objects or prompts, one on each "
        "line, or rows of CSV. A job without an id is given one. Prints the id of each job once the "
        "broker has the job. A line that is no job is reported, and the others are sent. A file that is "
        "sent again is drawn again.",
    .example =
        "darkroom submit --brokers kafka-1:9092 --model sd15 --prompt \"a red fox in the snow\" --steps 30",
    .run = run,
};
