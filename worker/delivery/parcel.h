/* parcel.h - a result or a dead letter, packed for the broker, with the offset that is committed with it; or only that, of a
 * job that the device was lost with, or of a message whose answer no broker takes.
 *
 * A result's pictures are in its bytes from then on and freed; its job stays, in case the broker won't have the bytes
 * and something smaller has to be made of it:
 *
 *     a result        with its pictures > failed, with the reason > without carried headers > brief: id, state and error
 *     a dead letter   whole > cut (worker/delivery/dead_letter.h), as far as has to be
 *
 * Where even the last is refused, the message is finished without an answer. */
#ifndef DR_WORKER_DELIVERY_PARCEL_H
#define DR_WORKER_DELIVERY_PARCEL_H

#include "worker/delivery/record.h"
#include "worker/jobs/result.h"

typedef struct dr_parcel {
    struct dr_parcel *next; /* the publisher's */
    dr_job_origin origin;
    const char *worker, *topic, *usual_topic; /* borrowed, or of the result's job */
    dr_result *result;                        /* or NULL */
    void *bytes;                              /* the encoded result */
    size_t size;
    bool without_carried;            /* the result: what came with the job had no room */
    rd_kafka_resp_err_t reply_error; /* of the reply topic, which it goes past; or 0 */
    rd_kafka_message_t *dead;        /* or NULL */
    size_t dead_bytes_max;           /* what the letter may have; SIZE_MAX: nobody knows */
    bool lost;     /* neither: there is no record, and the offset is not finished but counted */
    bool given_up; /* there is no record any more; the offset is finished */
    dr_error why;  /* it is dead */
    rd_kafka_headers_t *headers;
} dr_parcel;

/* Takes the result; NULL without memory, then it is still the caller's, as it was.  worker and topic are borrowed; the
 * job's reply topic goes before `topic`. */
dr_parcel *dr_parcel_of_result(dr_result *result, const char *worker, const char *topic);

/* Make it a failed result: why there are no pictures instead of those. */
void dr_parcel_fail_result(dr_result *result, const dr_error *why);

/* Takes the message; NULL without memory, then it is still the caller's. */
dr_parcel *dr_parcel_of_dead(rd_kafka_message_t *message, const dr_error *why, const char *topic);

dr_parcel *dr_parcel_of_lost(const dr_job_origin *origin); /* NULL without memory */

void dr_parcel_free(dr_parcel *p); /* NULL is allowed */

/* Of memory, about; it does not grow. */
size_t dr_parcel_bytes(const dr_parcel *p);

/* There is something to send. */
bool dr_parcel_has_record(const dr_parcel *p);

/* What came with the job and goes on with the result; takes headers, which may be NULL. */
void dr_parcel_carry(dr_parcel *p, rd_kafka_headers_t *headers);

/* As a record, good as long as the parcel.  jobs_topic and group: where a dead letter was read, and by whom. */
dr_record dr_parcel_record(dr_parcel *p, const char *jobs_topic, const char *group);

typedef enum dr_amendment {
    DR_AMENDED,   /* it is another one now, to be sent again */
    DR_SET_ASIDE, /* its topic takes nothing now, or memory lacks for another one: later */
    DR_GIVEN_UP, /* there is nothing that the broker would take, and no record any more: logged as an error */
} dr_amendment;

/* The record of p was refused (record->error): make something of p that the broker will take. */
dr_amendment dr_parcel_amend(dr_parcel *p, const dr_record *record);

#endif
