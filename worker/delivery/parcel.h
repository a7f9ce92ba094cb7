/* parcel.h - the answer to one message, packed for the broker, with the offset that is committed with it.
 *
 * A parcel has a record: a result or a dead letter.  It has none if only the offset is committed, because the
 * device was lost with the job, or because the broker accepts no answer to this message.
 *
 * The pictures of a result are freed once they are in its bytes.  The job stays, in case the broker refuses
 * the bytes and something smaller has to be made of it:
 *
 *     a result        with its pictures > failed, with the reason > without carried headers > brief: id,
 *                     state and error
 *     a dead letter   whole > cut (worker/delivery/dead_letter.h), as far as has to be
 *
 * If even the smallest form is refused, the message's offset is committed without an answer.
 *
 * Threads: one at a time. */
#ifndef DR_WORKER_DELIVERY_PARCEL_H
#define DR_WORKER_DELIVERY_PARCEL_H

#include "worker/delivery/record.h"
#include "worker/jobs/result.h"

/* The list of the publisher that the parcel is in (worker/delivery/publisher_queue.h). */
typedef enum dr_parcel_place {
    DR_PARCEL_NOWHERE,
    DR_PARCEL_WAITING,
    DR_PARCEL_ASIDE,
    DR_PARCEL_SENDING
} dr_parcel_place;

typedef struct dr_parcel {
    struct dr_parcel *next; /* in the publisher's list */
    dr_parcel_place place;
    dr_job_origin origin;
    const char *worker, *topic, *usual_topic; /* borrowed; a topic may belong to the result's job */
    dr_result *result;                        /* or NULL */
    void *bytes;                              /* the encoded result */
    size_t size;
    bool without_carried; /* the result: the headers that came with the job had no room */
    rd_kafka_resp_err_t
        reply_error;          /* of the reply topic, in whose place the usual topic is written to; or 0 */
    rd_kafka_message_t *dead; /* or NULL */
    size_t dead_bytes_max;    /* how large the letter may be; SIZE_MAX: nobody knows */
    bool lost;     /* there is no record, and the offset is not settled: the loss of the device is counted */
    bool given_up; /* there is no record any more; the offset is settled */
    dr_error why;  /* why the message is no job */
    rd_kafka_headers_t *headers;
} dr_parcel;

/* Takes the result.  NULL without memory: the result is still the caller's, unchanged.  worker and topic are
 * borrowed.  If the job names a reply topic, it is used in place of `topic`. */
dr_parcel *dr_parcel_of_result(dr_result *result, const char *worker, const char *topic);

/* Makes the result a failed one, with the reason in place of the pictures. */
void dr_parcel_fail_result(dr_result *result, const dr_error *why);

/* Takes the message.  It is no job, for the reason in `why`.  NULL without memory: the message is still the
 * caller's. */
dr_parcel *dr_parcel_of_dead(rd_kafka_message_t *message, const dr_error *why, const char *topic);

/* The device was lost with the job at this origin.  NULL without memory. */
dr_parcel *dr_parcel_of_lost(const dr_job_origin *origin);

/* NULL is allowed. */
void dr_parcel_free(dr_parcel *p);

/* About how much memory the parcel holds.  This number does not grow. */
size_t dr_parcel_bytes(const dr_parcel *p);

/* Whether there is a record to send. */
bool dr_parcel_has_record(const dr_parcel *p);

/* Sets the headers that came with the job and that its result carries on.  Takes the headers, which may be
 * NULL. */
void dr_parcel_carry(dr_parcel *p, rd_kafka_headers_t *headers);

/* The record of the parcel.  It is valid as long as the parcel.  jobs_topic and group: where a dead letter
 * was read, and by which group. */
dr_record dr_parcel_record(dr_parcel *p, const char *jobs_topic, const char *group);

typedef enum dr_amendment {
    DR_AMENDED,   /* it has another record now, to be sent again */
    DR_SET_ASIDE, /* later: its topic can't be written to now, or there is no memory for another record */
    DR_GIVEN_UP,  /* the broker accepts no record that could be made; logged as an error */
} dr_amendment;

/* The record of p was refused (record->error): makes another record that the broker may accept. */
dr_amendment dr_parcel_amend(dr_parcel *p, const dr_record *record);

#endif
