/* control.h - cancellations, from the control topic.
 *
 * Every worker reads all of the topic, without a group, from its start; what is older than an hour is
 * passed over.  A cancellation goes to the pipeline at once, and is remembered for an hour: the job itself may still be on
 * its way through the jobs topic.
 *
 * It means the jobs of its id that were sent before it: those whose message has no later timestamp than its own.  The same id
 * can be used again, for a job that is sent later. */
#ifndef DR_WORKER_DELIVERY_CONTROL_H
#define DR_WORKER_DELIVERY_CONTROL_H

#include "worker/kafka/kafka.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dr_control dr_control;

/* on_cancel is called on the control thread.  Does not wait for the broker, nor for the topic. */
dr_status dr_control_open(dr_control **out, const dr_kafka_options *kafka, const char *topic,
                          void (*on_cancel)(void *arg, const char *job_id, int64_t sent_until_ms), void *arg,
                          dr_error *err);
void dr_control_close(dr_control *c); /* NULL is allowed */

/* A job of that id that was sent then (Unix time; 0: nobody knows, so it may have been before).  Any thread; NULL c: nothing
 * is canceled. */
bool dr_control_is_canceled(dr_control *c, const char *job_id, int64_t sent_ms);

#endif
