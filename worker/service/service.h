/* service.h - the worker itself: consumer, pipeline and publisher put together.
 *
 *     thread      is in                     takes from           gives to
 *     poll        consumer.c              librdkafka           inbox       (DR_INBOX_MESSAGES_MAX)
 *     intake      service.c                 inbox                pipeline    (jobs_max)
 *     denoise     pipeline.c                pipeline             finishing   (its pixels_max)
 *     finish xN   pipeline.c                finishing            waiting     (DR_PUBLISH_WAITING_MAX)
 *     publisher   publisher.c               waiting              the broker
 *     control     control.c                 the control topic    pipeline's cancel
 *     http        libmicrohttpd             -                    reads counters only
 *     librdkafka's own: one a broker connection, three a client
 *
 * Whatever can't move stops what is before it: broker away -> waiting full -> finish threads wait -> device
 * waits -> pipeline full -> intake waits -> inbox full -> partitions are left alone.
 *
 * Used by cmd_worker.c and by the demo.  Threads: start, drain and stop from one; the rest from any. */
#ifndef DR_WORKER_SERVICE_SERVICE_H
#define DR_WORKER_SERVICE_SERVICE_H

#include "worker/delivery/consumer.h"
#include "worker/delivery/control.h"
#include "worker/delivery/events.h"
#include "worker/delivery/publisher.h"
#include "worker/pipeline/pipeline.h"

typedef struct dr_service dr_service;

typedef struct dr_service_options {
    dr_kafka_options kafka;
    const char *group;
    const char *slot; /* stable over restarts, unique among the workers of the group */
    const char *jobs_topic, *results_topic, *dead_letters_topic;
    const char *events_topic;        /* NULL or "": no events */
    const char *control_topic;       /* NULL or "": no cancellations */
    const char *const *reply_topics; /* those that a job may name */
    size_t reply_topics_count;
    dr_delivery delivery;
    dr_engine_options engine;
    int finish_threads, jobs_max, model_wait_s, shortage_ms; /* as in dr_pipeline_options */
} dr_service_options;

/* Opens the engine, then joins the group.  Does not wait for the broker, nor for models: while there is none, no job is
 * taken.  Strings and arrays in options are
 * borrowed until dr_service_stop(). */
dr_status dr_service_start(dr_service **out, const dr_service_options *options, dr_error *err);

/* Takes no more jobs from now on. */
void dr_service_close_intake(dr_service *s);

/* After dr_service_close_intake(): wait until what was taken is committed; false: not within timeout_ms. */
bool dr_service_drain(dr_service *s, int timeout_ms);

/* What is not committed is given up, for somebody to do again.  NULL is allowed. */
void dr_service_stop(dr_service *s);

/* It can take jobs, draw them and commit their results; else *why says what does not hold and why, in one line. */
bool dr_service_ready(dr_service *s, dr_error *why);

/* Its threads are alive; false: it should be restarted. */
bool dr_service_healthy(dr_service *s, dr_error *why);

/* DR_OK, or why it can never do another job.  DR_EDEVICE: the device is lost; jobs that it had not finished are handed
 * back, those that it had can still be drained. */
dr_status dr_service_fatal(dr_service *s, dr_error *err);

/* For Prometheus; malloc'ed, NULL without memory. */
char *dr_service_metrics(dr_service *s);

#endif
