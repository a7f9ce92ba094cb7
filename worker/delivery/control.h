/* control.h - cancellations, from the control topic.
 *
 * Every worker reads the whole topic from its start, without a group, and passes over what is older than an
 * hour.  A cancellation goes to the pipeline at once.  It is also remembered for an hour, since the job may
 * still be on its way through the jobs topic.
 *
 * A cancellation is for the jobs of its id that were sent before it: their messages have no later timestamp
 * than the message of the cancellation.  So the same id can be used again for a job that is sent later. */
#ifndef DR_WORKER_DELIVERY_CONTROL_H
#define DR_WORKER_DELIVERY_CONTROL_H

#include "worker/kafka/kafka.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dr_control dr_control;

/* Starts the control thread, which calls on_cancel for each cancellation.  Waits neither for the broker nor
 * for the topic. Copies its arguments, but for `arg`.  On success *out is the caller's, to be ended with
 * dr_control_close(); on failure it is NULL. */
dr_status dr_control_open(dr_control **out, const dr_kafka_options *kafka, const char *topic,
                          void (*on_cancel)(void *arg, const char *job_id, int64_t sent_until_ms), void *arg,
                          dr_error *err);

/* Ends the thread: on_cancel is not called any more.  NULL is allowed. */
void dr_control_close(dr_control *c);

/* Whether a job of this id, sent at this time, is canceled.  sent_ms: Unix time; 0: the time is not known,
 * so the job may have been sent before the cancellation.  If c is NULL, nothing is canceled.  Any thread. */
bool dr_control_is_canceled(dr_control *c, const char *job_id, int64_t sent_ms);

#endif
