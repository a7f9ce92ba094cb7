/* events.h - how a job is getting on, to the events topic: best effort, and never in the way.
 *
 * Sending hands the event to librdkafka and returns.  Where the broker is slow or away events are dropped, a
 * few thousand late: the last word about a job is its result.  Threads: any. */
#ifndef DR_WORKER_DELIVERY_EVENTS_H
#define DR_WORKER_DELIVERY_EVENTS_H

#include "worker/kafka/kafka.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/metrics.h"

typedef struct dr_events dr_events;

/* worker: named in the events; metrics may be NULL. */
dr_status dr_events_open(dr_events **out, const dr_kafka_options *kafka, const char *topic,
                         const char *worker, dr_metrics *metrics, dr_error *err);
void dr_events_send(dr_events *e, const dr_job_event *event); /* NULL e: nobody listens */
/* Gives what is under way a second.  NULL is allowed. */
void dr_events_close(dr_events *e);

#endif
