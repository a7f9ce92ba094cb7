#include "worker/service/service.h"

#include "worker/service/ready.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MEMORY_MS = 50,           /* before memory is asked for again */
    LOOK_MS = 200,            /* how soon a waiting intake sees that it is to stop */
    MODELS_LOOK_MS = 1000,    /* a folder is read this often */
    POLL_AGE_MAX_MS = 60000,  /* the poll thread waits for the broker at most 5 s at a time */
    PUBLISH_MAX_MS = 1800000, /* stuck in librdkafka, not waiting for a broker: those calls return */
};

typedef struct series {
    dr_series *received, *in_flight, *aside, *waiting, *lag, *partitions, *window, *rebalances, *ready;
    dr_series *handed_back, *load, *idle;
    dr_series *batch, *queued, *denoise, *decode, *encode;
} series;

struct dr_service {
    dr_service_options options;
    dr_metrics *metrics;
    series series;
    dr_pipeline *pipeline;
    dr_books *books;
    dr_consumer *consumer;
    dr_publisher *publisher;
    dr_events *events;
    dr_control *control;
    pthread_t intake;
    bool intake_started;
    atomic_bool closing, intake_done;
    pthread_mutex_t lock;
    dr_error models; /* why no model can be used; DR_OK: one can.  Under the lock */
    int64_t look_ms; /* the intake's: when it looks at the models again */
};

/* --- intake: the intake thread ------------------------------------------------------------ */

static bool may_reply_to(const dr_service *s, const char *topic)
{
    for (size_t i = 0; i < s->options.reply_topics_count; i++)
        if (strcmp(topic, s->options.reply_topics[i]) == 0)
            return true;
    return false;
}

/* A job may not write to any topic it likes: its failed result goes to the results topic, whatever else is
 * wrong with it. */
static dr_status check_reply_topic(const dr_service *s, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    if (!job->reply_topic || may_reply_to(s, job->reply_topic))
        return DR_OK;
    free(job->reply_topic);
    job->reply_topic = NULL;
    snprintf(refusal->field, sizeof(refusal->field), "reply_topic");
    snprintf(refusal->allowed, sizeof(refusal->allowed), "a topic of the worker's reply_topics setting");
    return dr_fail(err, DR_EINVAL, "job %s: reply_topic: this worker does not write to that topic", job->id);
}

/* Others have to give some back. */
static void wait_for_memory(void)
{
    const struct timespec pause = { .tv_nsec = MEMORY_MS * 1000000L };

    nanosleep(&pause, NULL);
}

static void submit(dr_service *s, dr_job *job)
{
    for (bool room = false; !s->closing;) {
        if (dr_pipeline_submit(s->pipeline, job))
            return;
        if (room) /* then it is memory that lacks */
            wait_for_memory();
        room = dr_pipeline_wait_room(s->pipeline, LOOK_MS);
    }
    dr_books_drop(s->books, &job->origin);
    dr_job_free(job);
}

/* A job that fails for what it asks, or because somebody wanted it to end, is its sender's; any other failure is ours. */
static dr_log_level level_of(dr_status status)
{
    switch (status) {
    case DR_OK:
        return DR_LOG_DEBUG;
    case DR_EINVAL:
    case DR_EFORMAT:
    case DR_EUNSUPPORTED:
    case DR_ECANCELED:
    case DR_EEXPIRED:
        return DR_LOG_INFO;
    default:
        return DR_LOG_WARN;
    }
}

static void log_outcome(const char *module, const dr_result *result)
{
    const dr_log_about about = {
        .job = result->job->id,
        .partition = (int)result->job->origin.partition,
        .offset = (long long)result->job->origin.offset,
        .code = dr_status_name(result->error.status),
    };

    for (int i = 0; i < result->warnings.count; i++)
        dr_log_job(DR_LOG_INFO, module, &about, "%s", result->warnings.text[i]);
    dr_log_job(level_of(result->error.status), module, &about, "%s",
               result->error.status ? result->error.text : "done");
}

static void refuse(dr_service *s, dr_job *job, const dr_error *err, const dr_refusal *refusal)
{
    dr_result *result;

    while (!(result = dr_result_failed(job, err, refusal)) && !s->closing)
        wait_for_memory();
    if (result) {
        log_outcome("intake", result);
        dr_publisher_put(s->publisher, result);
        return;
    }
    dr_books_drop(s->books, &job->origin);
    dr_job_free(job);
}

/* 0: its broker is too old to say. */
static int64_t sent_ms(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    const int64_t ms = rd_kafka_message_timestamp(m, &type);

    return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0 ? 0 : ms;
}

/* Takes the message. */
static void take_in(dr_service *s, rd_kafka_message_t *m)
{
    const dr_job_origin origin = dr_books_origin(m);
    dr_refusal refusal = { 0 }, reply_refusal = { 0 };
    dr_error err, reply_err;
    dr_status rc, reply_rc;
    dr_job *job;

    dr_series_add(s->series.received, 1);
    while ((rc = dr_job_decode(&job, m->payload, m->len, &refusal, &err)) == DR_ENOMEM && !s->closing)
        wait_for_memory();
    if (!job && rc == DR_ENOMEM) {
        dr_books_drop(s->books, &origin);
        rd_kafka_message_destroy(m);
        return;
    }
    if (!job) {
        const dr_log_about about = { NULL, (int)m->partition, (long long)m->offset, dr_status_name(rc) };
        dr_log_job(DR_LOG_INFO, "intake", &about, "a dead letter: %s", err.text);
        dr_publisher_put_dead(s->publisher, m, &err);
        return;
    }
    job->sent_ms = sent_ms(m);
    rd_kafka_message_destroy(m);
    job->origin = origin;
    job->device_losses = dr_books_losses(s->books, &origin);
    if (job->device_losses > 0)
        dr_log_warn("intake", "job %s: a device was lost while it ran, %d of at most %d times: it runs alone",
                    job->id, job->device_losses, DR_DEVICE_LOSSES_MAX);
    reply_rc = check_reply_topic(s, job, &reply_refusal, &reply_err);
    if (rc == DR_OK && reply_rc) {
        rc = reply_rc;
        refusal = reply_refusal;
        err = reply_err;
    }
    if (rc == DR_OK && dr_control_is_canceled(s->control, job->id, job->sent_ms))
        rc = dr_fail(&err, DR_ECANCELED, "job %s: canceled", job->id);
    if (rc == DR_OK)
        submit(s, job);
    else
        refuse(s, job, &err, &refusal);
}

static dr_status models_missing(dr_service *s, dr_error *why)
{
    pthread_mutex_lock(&s->lock);
    const dr_error models = s->models;
    pthread_mutex_unlock(&s->lock);
    if (models.status)
        *why = models;
    return models.status;
}

/* Whatever was taken while there is no model at all would have to be refused: the jobs stay where they are. */
static bool has_models(dr_service *s)
{
    dr_error now = { .status = DR_OK }, before;

    if (dr_clock_ms() < s->look_ms)
        return models_missing(s, &before) == DR_OK;
    s->look_ms = dr_clock_ms() + MODELS_LOOK_MS;
    if (dr_engine_models(&s->options.engine, &now))
        dr_fail_within(&now, "no model can be used");
    pthread_mutex_lock(&s->lock);
    const dr_status was = s->models.status;
    s->models = now;
    pthread_mutex_unlock(&s->lock);
    if (now.status && !was)
        dr_log_warn("intake", "%s; no job is taken", now.text);
    else if (was && !now.status)
        dr_log_info("intake", "there is a model: jobs are taken");
    return now.status == DR_OK;
}

static void *intake_thread(void *arg)
{
    const struct timespec moment = { .tv_nsec = LOOK_MS * 1000000L };
    dr_service *s = arg;

    while (!s->closing) {
        if (!has_models(s)) {
            nanosleep(&moment, NULL);
            continue;
        }
        rd_kafka_message_t *m = dr_books_next(s->books, LOOK_MS);
        if (m)
            take_in(s, m);
    }
    s->intake_done = true;
    return NULL;
}

/* --- from the pipeline ---------------------------------------------------------------------- */

/* It was alone, and the next device would be lost with it too: that is its answer. */
static void give_up(dr_service *s, dr_result *result)
{
    dr_fail_within(&result->error, "a device was lost each of the %d times that this job ran",
                   DR_DEVICE_LOSSES_MAX);
    result->error.retriable = false;
    log_outcome("worker", result);
    dr_publisher_put(s->publisher, result);
}

/* The device is lost, and this job with it: without a result it stays uncommitted, for another worker to do, who is told
 * if it ran then. */
static void hand_back(dr_service *s, dr_result *result)
{
    const dr_job *job = result->job;

    dr_service_close_intake(s);
    if (result->device_lost && job->device_losses + 1 >= DR_DEVICE_LOSSES_MAX) {
        give_up(s, result);
        return;
    }
    dr_series_add(s->series.handed_back, 1);
    if (result->device_lost)
        dr_publisher_put_lost(s->publisher, &job->origin);
    else
        dr_books_drop(s->books, &job->origin);
    dr_result_free(result);
}

static void on_result(void *arg, dr_result *result)
{
    dr_service *s = arg;

    if (result->error.status == DR_EDEVICE) {
        hand_back(s, result);
        return;
    }
    if (result->batch_samples > 0) {
        dr_series_observe(s->series.batch, result->batch_samples);
        dr_series_observe(s->series.queued, (double)result->queued_ns * 1e-9);
        dr_series_observe(s->series.denoise, (double)result->denoise_ns * 1e-9);
        dr_series_observe(s->series.decode, (double)result->decode_ns * 1e-9);
        dr_series_observe(s->series.encode, (double)result->encode_ns * 1e-9);
    }
    log_outcome("worker", result);
    dr_publisher_put(s->publisher, result);
}

static void on_cancel(void *arg, const char *job_id, int64_t sent_until_ms)
{
    dr_service *s = arg;

    dr_pipeline_cancel(s->pipeline, job_id, sent_until_ms);
}

static void on_event(void *arg, const dr_job_event *event)
{
    dr_service *s = arg;

    if (event->job->report_events)
        dr_events_send(s->events, event);
}

/* --- metrics ----------------------------------------------------------------------------------- */

static void make_series(series *s, dr_metrics *m)
{
    static const double samples[] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 };
    static const double seconds[] = { 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600 };
    enum { SAMPLES = sizeof(samples) / sizeof(samples[0]), SECONDS = sizeof(seconds) / sizeof(seconds[0]) };

    s->received =
        dr_metrics_counter(m, "darkroom_messages_received_total", "Messages taken from the jobs topic.", "");
    s->ready =
        dr_metrics_gauge(m, "darkroom_ready", "1: can take jobs, draw them and commit their results.", "");
    s->in_flight = dr_metrics_gauge(m, "darkroom_jobs_in_flight", "Jobs taken and not yet committed.", "");
    s->aside = dr_metrics_gauge(m, "darkroom_jobs_put_aside",
                                "Jobs that wait for a model that is not there, or for memory.", "");
    s->waiting = dr_metrics_gauge(m, "darkroom_results_waiting", "Results that wait for the broker.", "");
    s->lag = dr_metrics_gauge(m, "darkroom_consumer_lag",
                              "Offsets from the committed ones to the ends of this "
                              "worker's partitions.",
                              "");
    s->partitions = dr_metrics_gauge(m, "darkroom_partitions", "Partitions of this worker.", "");
    s->window = dr_metrics_gauge(m, "darkroom_offset_window_used",
                                 "Offsets from the oldest unfinished job to the "
                                 "newest one read, of the fullest partition; at 4096 it is read no further.",
                                 "");
    s->rebalances =
        dr_metrics_counter(m, "darkroom_rebalances_total", "Assignments that this worker was given.", "");
    s->handed_back = dr_metrics_counter(m, "darkroom_jobs_handed_back_total",
                                        "Jobs left to other workers because the device was lost.", "");
    s->load = dr_metrics_counter(m, "darkroom_device_load_seconds_total",
                                 "Time in which there were jobs for the device.", "");
    s->idle =
        dr_metrics_counter(m, "darkroom_device_idle_seconds_total",
                           "Of the time in which there were jobs for it, what the device did nothing.", "");
    s->batch = dr_metrics_histogram(m, "darkroom_batch_samples", "Samples in the batch, by job.", "", samples,
                                    SAMPLES);
    s->queued =
        dr_metrics_histogram(m, "darkroom_queue_seconds", "From accepted to the start of the batch, by job.",
                             "", seconds, SECONDS);
    s->denoise =
        dr_metrics_histogram(m, "darkroom_denoise_seconds",
                             "Text encoder and denoising of the batch, by job.", "", seconds, SECONDS);
    s->decode = dr_metrics_histogram(m, "darkroom_decode_seconds", "Latents to pixels, by job.", "", seconds,
                                     SECONDS);
    s->encode =
        dr_metrics_histogram(m, "darkroom_encode_seconds", "Pixels to files, by job.", "", seconds, SECONDS);
}

char *dr_service_metrics(dr_service *s)
{
    dr_publisher_state publisher;
    dr_books_state books;
    dr_error why;

    dr_books_state_get(s->books, &books);
    dr_publisher_state_get(s->publisher, &publisher);
    dr_series_set(s->series.ready, dr_service_ready(s, &why));
    dr_series_set(s->series.in_flight, books.running);
    dr_series_set(s->series.aside, dr_pipeline_aside(s->pipeline));
    dr_series_set(s->series.waiting, publisher.waiting);
    dr_series_set(s->series.lag, (double)books.lag);
    dr_series_set(s->series.partitions, books.partitions);
    dr_series_set(s->series.window, (double)books.window_used);
    dr_series_set(s->series.rebalances, (double)books.rebalances);
    const dr_device_load load = dr_pipeline_load(s->pipeline);
    dr_series_set(s->series.load, load.seconds);
    dr_series_set(s->series.idle, load.idle_s);
    return dr_metrics_text(s->metrics);
}

/* --- state --------------------------------------------------------------------------------------- */

dr_status dr_service_fatal(dr_service *s, dr_error *err)
{
    dr_status rc = dr_books_fatal(s->books, err);

    if (!rc)
        rc = dr_publisher_fatal(s->publisher, err);
    return rc ? rc : dr_pipeline_lost(s->pipeline, err);
}

bool dr_service_ready(dr_service *s, dr_error *why)
{
    dr_publisher_state publisher;
    dr_consumer_state consumer;
    dr_ready_facts facts = { .draining = s->closing };

    if (dr_service_fatal(s, why))
        return false;
    dr_consumer_state_get(s->consumer, &consumer);
    dr_publisher_state_get(s->publisher, &publisher);
    facts.broker_up = consumer.broker_up;
    facts.leased = dr_books_wait_lease(s->books, 0);
    dr_consumer_reason(s->consumer, &facts.broker);
    facts.group = consumer.complaint;
    models_missing(s, &facts.models);
    facts.coordinator_up = publisher.up;
    facts.commit = publisher.trouble;
    return dr_ready(&facts, why);
}

bool dr_service_healthy(dr_service *s, dr_error *why)
{
    dr_publisher_state publisher;
    dr_consumer_state consumer;

    if (dr_service_fatal(s, why))
        return false;
    dr_consumer_state_get(s->consumer, &consumer);
    dr_publisher_state_get(s->publisher, &publisher);
    if (consumer.poll_age_ms > POLL_AGE_MAX_MS) {
        dr_fail(why, DR_EIO, "the poll thread has not been seen for %lld s",
                (long long)consumer.poll_age_ms / 1000);
        return false;
    }
    if (publisher.up && publisher.busy_ms > PUBLISH_MAX_MS) {
        dr_fail(why, DR_EIO, "one commit has taken %lld s", (long long)publisher.busy_ms / 1000);
        return false;
    }
    return true;
}

/* --- start and stop --------------------------------------------------------------------------------- */

static dr_status start_delivery(dr_service *s, dr_error *err)
{
    const dr_service_options *o = &s->options;
    dr_publisher_options publisher = {
        .outbox = { .kafka = o->kafka, .delivery = o->delivery, .slot = o->slot, .group = o->group },
        .results_topic = o->results_topic,
        .dead_letters_topic = o->dead_letters_topic,
        .worker = o->slot,
        .metrics = s->metrics,
    };
    dr_status rc = dr_books_open(&s->books, o->jobs_topic, o->group, err);

    if (!rc)
        rc = dr_consumer_open(&s->consumer, &(dr_consumer_options){ o->kafka, o->slot, s->books }, err);
    if (rc)
        return rc;
    publisher.books = s->books;
    return dr_publisher_start(&s->publisher, &publisher, err);
}

static dr_status start_pipeline(dr_service *s, dr_error *err)
{
    const dr_pipeline_options options = {
        .engine = s->options.engine,
        .finish_threads = s->options.finish_threads,
        .jobs_max = s->options.jobs_max,
        .model_wait_s = s->options.model_wait_s,
        .shortage_ms = s->options.shortage_ms,
        .on_result = on_result,
        .on_event = on_event,
        .arg = s,
    };

    return dr_pipeline_start(&s->pipeline, &options, err);
}

dr_status dr_service_start(dr_service **out, const dr_service_options *options, dr_error *err)
{
    dr_service *s = calloc(1, sizeof(*s));
    dr_status rc;

    *out = NULL;
    if (!s)
        return dr_fail(err, DR_ENOMEM, "worker: no memory");
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    s->metrics = dr_metrics_create();
    make_series(&s->series, s->metrics);
    rc = s->metrics ? start_pipeline(s, err) : dr_fail(err, DR_ENOMEM, "worker: no memory");
    if (!rc && options->events_topic && *options->events_topic)
        rc = dr_events_open(&s->events, &options->kafka, options->events_topic, options->slot, s->metrics,
                            err);
    if (!rc && options->control_topic && *options->control_topic)
        rc = dr_control_open(&s->control, &options->kafka, options->control_topic, on_cancel, s, err);
    if (!rc)
        rc = start_delivery(s, err);
    if (rc)
        goto out;
    if (pthread_create(&s->intake, NULL, intake_thread, s)) {
        rc = dr_fail(err, DR_ENOMEM, "worker: no thread");
        goto out;
    }
    s->intake_started = true;
    *out = s;
    s = NULL;
out:
    dr_service_stop(s);
    return rc;
}

void dr_service_close_intake(dr_service *s)
{
    s->closing = true;
    if (s->books)
        dr_books_stop(s->books);
}

bool dr_service_drain(dr_service *s, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    const struct timespec moment = { .tv_nsec = 10 * 1000000 };
    int64_t left_ms;

    while (!s->intake_done && dr_clock_ms() < until_ms)
        nanosleep(&moment, NULL); /* it may be handing over its last message */
    if (!s->intake_done || !dr_pipeline_drain(s->pipeline, timeout_ms))
        return false;
    left_ms = until_ms - dr_clock_ms();
    return dr_publisher_drain(s->publisher, left_ms > 0 ? (int)left_ms : 0);
}

void dr_service_stop(dr_service *s)
{
    if (!s)
        return;
    dr_publisher_cancel(s->publisher); /* from here on nothing blocks in put() */
    dr_service_close_intake(s);
    if (s->intake_started)
        pthread_join(s->intake, NULL);
    dr_control_close(s->control);
    dr_pipeline_stop(s->pipeline);
    dr_publisher_stop(s->publisher);
    dr_consumer_close(s->consumer);
    dr_books_close(s->books);
    dr_events_close(s->events);
    dr_metrics_free(s->metrics);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
