/* service_parts.h - the inside of the service, for its files.
 *
 *     service.c           starts, drains and stops the parts; what the pipeline and the control topic call
 *     intake.c            the intake thread: a message becomes a job, a refusal or a dead letter
 *     probes.c            what the probes answer
 *     service_metrics.c   what /metrics shows
 *     outcome.c           what the log says of a job that has ended */
#ifndef DR_WORKER_SERVICE_SERVICE_PARTS_H
#define DR_WORKER_SERVICE_SERVICE_PARTS_H

#include "worker/service/service.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct dr_service_series {
    dr_series *received, *in_flight, *aside, *waiting, *lag, *partitions, *window, *rebalances, *ready;
    dr_series *handed_back, *load, *idle;
    dr_series *batch, *queued, *denoise, *decode, *encode;
} dr_service_series;

struct dr_service {
    dr_service_options options;
    dr_metrics *metrics;
    dr_service_series series;
    dr_pipeline *pipeline;
    dr_books *books;
    dr_consumer *consumer;
    dr_publisher *publisher;
    dr_events *events;
    dr_control *control;
    pthread_t intake;
    bool intake_started;
    atomic_bool closing;     /* no more jobs are taken */
    atomic_bool intake_done; /* the intake thread has handed over its last message */
    int64_t look_ms;         /* the intake thread's own: when it looks at the models again */

    pthread_mutex_t lock;
    dr_error models; /* why no model can be used; DR_OK: a model can.  Under the lock */
};

/* --- intake.c --- */

/* The body of the intake thread; arg: the service.  Ends soon after s->closing is set, and then sets
 * s->intake_done. */
void *dr_service_intake(void *arg);

/* Why no model can be used, or DR_OK.  Fills *why only with an error.  Any thread. */
dr_status dr_service_models_missing(dr_service *s, dr_error *why);

/* --- service_metrics.c --- */

/* Makes every series of the service in s->metrics.  At the start, before there are threads. */
void dr_service_series_make(dr_service *s);

/* Counts a job that a batch has drawn: the size of its batch and its seconds.  Any thread. */
void dr_service_series_count(dr_service *s, const dr_result *result);

/* --- outcome.c --- */

/* Writes the line of the log that tells how a job has ended, and its warnings.  Any thread. */
void dr_service_log_outcome(const char *module, const dr_result *result);

#endif
