/* service.c - starts the parts of a worker, stops them and drains them; what the pipeline and the control
 * topic call. */
#include "worker/service/service_parts.h"
#include "worker/support/clock.h"

#include <stdlib.h>
#include <time.h>

/* --- what the parts call ------------------------------------------------------------------------ */

/* The job ran alone the last times, so it would lose the next device too.  So this failure is its answer. */
static void give_up(dr_service *s, dr_result *result)
{
    dr_fail_within(&result->error, "a device was lost each of the %d times that this job ran",
                   DR_DEVICE_LOSSES_MAX);
    result->error.retriable = false;
    dr_service_log_outcome("worker", result);
    dr_publisher_put(s->publisher, result);
}

/* The device is lost, and this job with it.  The job gets no result, so it stays uncommitted and another
 * worker does it.  If it ran when the device was lost, the ledger counts that for the other worker. */
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

/* The pipeline has finished a job.  Takes the result.  On a thread of the pipeline. */
static void on_result(void *arg, dr_result *result)
{
    dr_service *s = arg;

    if (result->error.status == DR_EDEVICE) {
        hand_back(s, result);
        return;
    }
    if (result->batch_samples > 0)
        dr_service_series_count(s, result);
    dr_service_log_outcome("worker", result);
    dr_publisher_put(s->publisher, result);
}

/* On the control thread. */
static void on_cancel(void *arg, const char *job_id, int64_t sent_until_ms)
{
    dr_service *s = arg;

    dr_pipeline_cancel(s->pipeline, job_id, sent_until_ms);
}

/* On a thread of the pipeline. */
static void on_event(void *arg, const dr_job_event *event)
{
    dr_service *s = arg;

    if (event->job->report_events)
        dr_events_send(s->events, event);
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
    dr_pipeline_options options = s->options.pipeline;

    dr_assert(!options.on_result && !options.on_event && !options.arg); /* the service sets these itself */
    options.on_result = on_result;
    options.on_event = on_event;
    options.arg = s;
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
    dr_service_series_make(s);
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
    if (pthread_create(&s->intake, NULL, dr_service_intake, s)) {
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
