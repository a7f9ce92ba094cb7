/* cmd_worker.c - `darkroom worker`: runs until SIGTERM or SIGINT, then drains.
 *
 *     first signal     not ready; no more jobs are taken; all taken are finished and committed; it ends
 *     second signal    it ends at once; another worker does what is not committed */
#include "worker/kafka/kafka.h"
#include "worker/pictures/picture.h"
#include "worker/program/commands.h"
#include "worker/program/setup.h"
#include "worker/service/http.h"
#include "worker/service/service.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_MS = 500,
    TELL_AFTER_MS = 10000, /* not ready: a start takes a second or two, and is not worth a line */
    REPLY_TOPICS_MAX = 64,
};

/* Cut "a,b" into its parts, in place.  Returns how many there are, at most max. */
static size_t split_list(char *list, const char **part, size_t max)
{
    char *rest = NULL;
    size_t n = 0;

    for (char *p = strtok_r(list, ", ", &rest); p && n < max; p = strtok_r(NULL, ", ", &rest))
        part[n++] = p;
    return n;
}

/* --- http ---------------------------------------------------------------------------------- */

static dr_http_answer probe_answer(bool good, const dr_error *why)
{
    char text[DR_ERROR_TEXT_MAX + 2];

    snprintf(text, sizeof(text), "%s\n", good ? "ok" : why->text);
    return (dr_http_answer){ good ? 200 : 503, "text/plain; charset=utf-8", strdup(text) };
}

static dr_http_answer on_http(void *arg, const char *path)
{
    dr_service *s = arg;
    dr_error why;
    bool good;

    if (strcmp(path, "/metrics") == 0)
        return (dr_http_answer){ 200, "text/plain; version=0.0.4; charset=utf-8", dr_service_metrics(s) };
    if (strcmp(path, "/healthz") == 0) {
        good = dr_service_healthy(s, &why);
        return probe_answer(good, &why);
    }
    if (strcmp(path, "/readyz") == 0) {
        good = dr_service_ready(s, &why);
        return probe_answer(good, &why);
    }
    return (dr_http_answer){ 404, "text/plain; charset=utf-8",
                             strdup("try /metrics, /healthz or /readyz\n") };
}

/* This comes before anything else: a worker that can't have its port must not join the group, for that
 * would cost the group a rebalance.  *out is NULL where no port is wanted. */
static dr_status open_http(dr_http **out, const char *where, dr_error *err)
{
    *out = NULL;
    return *where ? dr_http_open(out, where, err) : DR_OK;
}

static dr_status serve_http(dr_http *h, const char *where, dr_service *s, dr_error *err)
{
    dr_status rc;

    if (!h)
        return DR_OK;
    rc = dr_http_serve(h, on_http, s, err);
    if (!rc) /* the port's number: where the setting says 0, the system has chosen one */
        dr_log_info("worker", "metrics and probes on %.*s:%u", (int)(strrchr(where, ':') - where), where,
                    dr_http_port(h));
    return rc;
}

/* --- the life of a worker ------------------------------------------------------------------- */

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL); /* every thread inherits this; wait_signal() takes them */
    signal(SIGPIPE, SIG_IGN);
}

static bool wait_signal(const sigset_t *set, int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    return sigtimedwait(set, NULL, &t) > 0;
}

/* Drain the service; returns the exit code.  `committed` names what is committed then, for the log. */
static int drain(dr_service *s, const sigset_t *signals, int limit_s, const char *committed)
{
    dr_log_info("worker", "draining: no more jobs are taken");
    dr_service_close_intake(s);
    for (int waited_ms = 0; waited_ms < limit_s * 1000; waited_ms += LOOK_MS) {
        if (dr_service_drain(s, LOOK_MS)) {
            dr_log_info("worker", "drained: %s is committed", committed);
            return DR_EXIT_DONE;
        }
        if (wait_signal(signals, 0)) {
            dr_log_warn("worker", "second signal: other workers do what is not committed");
            return DR_EXIT_NOT_DRAINED;
        }
    }
    dr_log_warn("worker", "not drained within %d s: other workers do what is not committed", limit_s);
    return DR_EXIT_NOT_DRAINED;
}

/* The jobs that were on the device are left to other workers.  What it had finished before is published
 * and committed. */
static int leave_lost_device(dr_service *s, const sigset_t *signals, int drain_s)
{
    drain(s, signals, drain_s, "what the device had finished");
    return DR_EXIT_DEVICE;
}

typedef struct readiness {
    bool ready;
    int64_t since_ms; /* when it was last logged */
    char why[DR_ERROR_TEXT_MAX];
} readiness;

/* Log a change of readiness at once.  Log a reason that lasts, or that follows another one, after
 * TELL_AFTER_MS. */
static void log_ready(readiness *told, bool ready, const dr_error *why)
{
    const int64_t now_ms = dr_clock_ms();
    const bool patient = told->ready || now_ms - told->since_ms >= TELL_AFTER_MS;

    if (ready && !told->ready)
        dr_log_info("worker", "ready");
    else if (!ready && patient && strcmp(told->why, why->text) != 0)
        dr_log_warn("worker", "not ready: %s", why->text);
    else
        return;
    told->ready = ready;
    told->since_ms = now_ms;
    snprintf(told->why, sizeof(told->why), "%s", ready ? "" : why->text);
}

static int run_until_signal(dr_service *s, const sigset_t *signals, int drain_s)
{
    readiness told = { .since_ms = dr_clock_ms() };
    dr_error err;

    while (!wait_signal(signals, LOOK_MS)) {
        bool ready;
        if (dr_service_fatal(s, &err)) {
            dr_log_error("worker", "%s", err.text);
            return err.status == DR_EDEVICE ? leave_lost_device(s, signals, drain_s) : DR_EXIT_LOCKED_OUT;
        }
        ready = dr_service_ready(s, &err);
        log_ready(&told, ready, &err);
    }
    return drain(s, signals, drain_s, "everything that was taken");
}

static int run(dr_cli *cli)
{
    char host[HOST_NAME_MAX + 1] = "worker";
    const char *reply_topics[REPLY_TOPICS_MAX];
    dr_config *c = &cli->config;
    const char *where = dr_setup_http(c->http);
    dr_service_options options;
    dr_service *service = NULL;
    dr_http *http = NULL;
    sigset_t signals;
    dr_error err;
    int code;

    gethostname(host, sizeof(host) - 1);
    block_signals(&signals);
    options = dr_setup_service(c, *c->worker ? c->worker : host);
    options.reply_topics = reply_topics;
    options.reply_topics_count = split_list(c->reply_topics, reply_topics, REPLY_TOPICS_MAX);
    if (dr_setup_kafka(&options.kafka, c, &err) || dr_pictures_start(&err))
        return dr_cli_failed(&dr_cmd_worker, &err);
    if (open_http(&http, where, &err) || dr_service_start(&service, &options, &err) ||
        serve_http(http, where, service, &err)) {
        code = dr_cli_failed(&dr_cmd_worker, &err);
        if (err.status == DR_EINVAL)
            code = DR_EXIT_USAGE;
    } else {
        dr_log_info("worker", "%s: group %s, jobs from %s, results to %s, %s", options.slot, c->group,
                    c->jobs_topic, c->results_topic, dr_delivery_name(c->delivery));
        code = run_until_signal(service, &signals, c->drain_s);
    }
    dr_http_stop(http);
    dr_service_stop(service);
    dr_pictures_stop();
    dr_kafka_options_free(&options.kafka);
    return code;
}

const dr_command dr_cmd_worker = {
    .name = "worker",
    .bit = DR_FOR_WORKER,
    .is_service = true,
    .summary = "Take jobs from Kafka and publish their pictures",
    .text =
        "Runs until SIGTERM or SIGINT. Then it takes no more jobs, finishes and commits those that it "
        "has, and ends. A second signal ends it at once: another worker does what was not committed. "
        "While no broker answers, it keeps trying.",
    .example = "darkroom worker --brokers kafka-1:9092,kafka-2:9092 --models /srv/models --worker gpu-0",
    .run = run,
};
