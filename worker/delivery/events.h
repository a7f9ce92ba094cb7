/* events.h - sends the progress of jobs to the events topic, as far as that does not delay a job.
 *
 * Sending hands the event to librdkafka and returns.  If the broker is slow or away, events are dropped once
 * a few thousand wait.  The last word about a job is its result, not an event.  Threads: any. */
#ifndef DR_WORKER_DELIVERY_EVENTS_H
#define DR_WORKER_DELIVERY_EVENTS_H

#include "worker/kafka/kafka.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/metrics.h"

typedef struct dr_events dr_events;

/* Makes the producer.  Does not wait for the broker.  The events name `worker`; metrics may be NULL and
 * outlives the events. On success *out is the caller's, to be ended with dr_events_close(); on failure it is
 * NULL. */
dr_status dr_events_open(dr_events **out, const dr_kafka_options *kafka, const char *topic,
                         const char *worker, dr_metrics *metrics, dr_error *err);

/* Sends the event, or drops it; does not wait.  NULL e: nothing is sent. */
void dr_events_send(dr_events *e, const dr_job_event *event);

/* Gives the events that are on their way one second, and drops the rest.  NULL is allowed. */
void dr_events_close(dr_events *e);

#endif
