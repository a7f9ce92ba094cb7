/* service.h - the worker as a whole: consumer, pipeline and publisher put together.
 *
 *     thread      is in                     takes from           gives to
 *     poll        consumer.c              librdkafka           inbox       (DR_INBOX_MESSAGES_MAX)
 *     intake      intake.c                  inbox                pipeline    (jobs_max)
 *     denoise     pipeline.c                pipeline             finishing   (its pixels_max)
 *     finish xN   pipeline.c                finishing            waiting     (DR_PUBLISH_WAITING_MAX)
 *     publisher   publisher.c               waiting              the broker
 *     control     control.c                 the control topic    pipeline's cancel
 *     http        libmicrohttpd             -                    reads counters only
 *     librdkafka's own: one a broker connection, three a client
 *
 * A stage that can't go on stops the stages before it.  If the broker is away, results wait until their
 * queue is full; then the finish threads wait, and then the device.  Then the pipeline is full and the intake
 * waits.  Then the inbox is full, and the partitions are read no further.
 *
 * cmd_worker.c and the demo use it.  Threads: one thread starts, drains and stops it; the other calls may
 * come from any thread. */
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
    const char *slot; /* the same after a restart, and no other worker of the group has it */
    const char *jobs_topic, *results_topic, *dead_letters_topic;
    const char *events_topic;        /* NULL or "": no events */
    const char *control_topic;       /* NULL or "": no cancellations */
    const char *const *reply_topics; /* the topics that a job may name */
    size_t reply_topics_count;
    dr_delivery delivery;
    dr_pipeline_options pipeline; /* without on_result, on_event and arg, which are the service's own */
} dr_service_options;

/* Opens the engine, then joins the group.  Waits neither for the broker nor for models.  While no model can
 * be used, no job is taken.  Strings and arrays in options are borrowed until dr_service_stop(), which must
 * be called to end *out.  On failure *out is NULL. */
dr_status dr_service_start(dr_service **out, const dr_service_options *options, dr_error *err);

/* No more jobs are taken from now on. */
void dr_service_close_intake(dr_service *s);

/* After dr_service_close_intake(): waits until all jobs that were taken are committed.  False: they were
 * not within timeout_ms. */
bool dr_service_drain(dr_service *s, int timeout_ms);

/* Ends everything.  Jobs that are not committed are left to other workers.  NULL is allowed. */
void dr_service_stop(dr_service *s);

/* Whether it can take jobs, draw them and commit their results.  If it can't, *why says in one line what is
 * missing, and why. */
bool dr_service_ready(dr_service *s, dr_error *why);

/* Whether its threads are alive.  False: the process should be started again; *why says which thread does
 * not move. */
bool dr_service_healthy(dr_service *s, dr_error *why);

/* DR_OK, or why it can never do another job.  DR_EDEVICE: the device is lost.  Then the unfinished jobs are
 * handed back, and the finished ones can still be drained. */
dr_status dr_service_fatal(dr_service *s, dr_error *err);

/* The text of /metrics, for Prometheus; malloc'ed, NULL without memory. */
char *dr_service_metrics(dr_service *s);

#endif
