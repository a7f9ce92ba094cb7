/* parcel.h - a result or a dead letter, packed for the broker, with the offset that is committed with it; or only that, of a
 * job that the device was lost with.
 *
 * A result's pictures are in its bytes from then on and freed; its job stays, in case the broker won't have the bytes
 * and a failed result has to be made of it. */
#ifndef DR_WORKER_PARCEL_H
#define DR_WORKER_PARCEL_H

#include "worker/outbox.h"
#include "worker/result.h"

typedef struct dr_parcel {
    struct dr_parcel *next; /* the publisher's */
    dr_job_origin origin;
    const char *worker, *topic, *usual_topic; /* borrowed, or of the result's job */
    dr_result *result;                        /* or NULL */
    void *bytes;                              /* the encoded result */
    size_t size;
    rd_kafka_message_t *dead; /* or NULL */
    bool without_value;       /* the dead letter was too large with it */
    bool lost;                /* neither: there is no record, and the offset is not finished but counted */
    dr_error why;             /* it is dead */
    rd_kafka_headers_t *headers;
} dr_parcel;

/* Takes the result; NULL without memory, then it is still the caller's.  worker and topic are borrowed; the
 * job's reply topic goes before `topic`. */
dr_parcel *dr_parcel_of_result(dr_result *result, const char *worker, const char *topic);

/* Takes the message; NULL without memory, then it is still the caller's. */
dr_parcel *dr_parcel_of_dead(rd_kafka_message_t *message, const dr_error *why, const char *topic);

dr_parcel *dr_parcel_of_lost(const dr_job_origin *origin); /* NULL without memory */

void dr_parcel_free(dr_parcel *p); /* NULL is allowed */

/* What came with the job and goes on with the result; takes headers, which may be NULL. */
void dr_parcel_carry(dr_parcel *p, rd_kafka_headers_t *headers);

/* As a record, good as long as the parcel.  jobs_topic and group: where a dead letter was read, and by whom. */
dr_record dr_parcel_record(dr_parcel *p, const char *jobs_topic, const char *group);

/* The broker will never take this one as it is, for the reason in code: make something of it that it will
 * take.  False: there is nothing. */
bool dr_parcel_amend(dr_parcel *p, rd_kafka_resp_err_t code);

#endif
