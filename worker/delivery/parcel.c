#include "worker/delivery/parcel.h"

#include "worker/delivery/books.h"
#include "worker/delivery/cut_note.h"
#include "worker/delivery/dead_letter.h"
#include "worker/support/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dr_parcel_free(dr_parcel *p)
{
    if (!p)
        return;
    dr_result_free(p->result);
    if (p->dead)
        rd_kafka_message_destroy(p->dead);
    if (p->headers)
        rd_kafka_headers_destroy(p->headers);
    free(p->bytes);
    free(p);
}

static void free_pictures(dr_result *result)
{
    for (int i = 0; i < result->pictures; i++) {
        free(result->picture[i].bytes);
        result->picture[i].bytes = NULL;
        result->picture[i].size = 0;
    }
    result->pictures = 0;
}

/* Encodes the result anew.  After a failure the parcel is as it was. */
static dr_status encode(dr_parcel *p, dr_error *err)
{
    void *bytes;
    size_t size;
    const dr_status rc = dr_result_encode(p->result, p->worker, &bytes, &size, err);

    if (rc)
        return rc;
    free(p->bytes);
    p->bytes = bytes;
    p->size = size;
    return DR_OK;
}

void dr_parcel_fail_result(dr_result *result, const dr_error *why)
{
    dr_log_warn("publisher", "job %s: %s", result->job->id, why->text);
    free_pictures(result);
    result->error = *why;
}

dr_parcel *dr_parcel_of_result(dr_result *result, const char *worker, const char *topic)
{
    dr_parcel *p = calloc(1, sizeof(*p));
    dr_error err;

    if (!p)
        return NULL;
    p->result = result;
    p->origin = result->job->origin;
    p->worker = worker;
    p->usual_topic = topic;
    p->topic = result->job->reply_topic ? result->job->reply_topic : topic;
    if (encode(p, &err)) {
        p->result = NULL; /* still the caller's */
        dr_parcel_free(p);
        return NULL;
    }
    free_pictures(result);
    return p;
}

dr_parcel *dr_parcel_of_dead(rd_kafka_message_t *message, const dr_error *why, const char *topic)
{
    dr_parcel *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->origin = dr_books_origin(message);
    p->dead = message;
    p->dead_bytes_max = SIZE_MAX;
    p->why = *why;
    p->topic = p->usual_topic = topic;
    return p;
}

dr_parcel *dr_parcel_of_lost(const dr_job_origin *origin)
{
    dr_parcel *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->origin = *origin;
    p->lost = true;
    return p;
}

size_t dr_parcel_bytes(const dr_parcel *p)
{
    return p->result ? p->size : p->dead ? p->dead->len + p->dead->key_len : 0;
}

bool dr_parcel_has_record(const dr_parcel *p)
{
    return !p->lost && !p->given_up;
}

/* Headers that say which headers were cut, and why the reply topic was not used.  No reader has to know
 * them. */
static void add_notes(dr_parcel *p, const char *cut)
{
    if (*cut)
        rd_kafka_header_add(p->headers, DR_CUT_HEADER, -1, cut, -1);
    if (!p->reply_error)
        return;
    rd_kafka_header_add(p->headers, "darkroom-reply-topic", -1, p->result->job->reply_topic, -1);
    rd_kafka_header_add(p->headers, "darkroom-reply-error", -1, rd_kafka_err2str(p->reply_error), -1);
}

void dr_parcel_carry(dr_parcel *p, rd_kafka_headers_t *headers)
{
    char cut[DR_CUT_TEXT_MAX] = "";

    if (!p->result) { /* a dead letter has all headers of its message */
        if (headers)
            rd_kafka_headers_destroy(headers);
        return;
    }
    if (headers && p->without_carried) {
        dr_cut_say(cut, "%zu headers", rd_kafka_header_cnt(headers));
        rd_kafka_headers_destroy(headers);
        headers = NULL;
    }
    if (p->headers)
        rd_kafka_headers_destroy(p->headers);
    p->headers = headers ? headers : rd_kafka_headers_new(4);
    rd_kafka_header_add(p->headers, "content-type", -1, "application/x-protobuf", -1);
    add_notes(p, cut);
}

dr_record dr_parcel_record(dr_parcel *p, const char *jobs_topic, const char *group)
{
    dr_record record;

    if (p->result)
        return (dr_record){
            .topic = p->topic,
            .key = p->result->job->id,
            .key_size = strlen(p->result->job->id),
            .value = p->bytes,
            .value_size = p->size,
            .headers = p->headers,
        };
    if (p->headers)
        rd_kafka_headers_destroy(p->headers);
    dr_dead_letter_make(&record, p->dead, jobs_topic, group, &p->why, p->dead_bytes_max);
    record.topic = p->topic;
    p->headers = (rd_kafka_headers_t *)record.headers;
    return record;
}

/* --- after a refusal ---------------------------------------------------------------------- */

static dr_amendment give_up(dr_parcel *p, const dr_record *record)
{
    char limit[48] = "";

    if (record->bytes_max != SIZE_MAX && record->bytes > record->bytes_max)
        snprintf(limit, sizeof(limit), " (its limit is %zu)", record->bytes_max);
    dr_log_error("publisher",
                 "partition %d offset %lld%s%s: topic %s refuses its %s of %zu bytes%s: %s; the message is "
                 "committed without an answer",
                 (int)p->origin.partition, (long long)p->origin.offset, p->result ? ", job " : "",
                 p->result ? p->result->job->id : "", p->topic, p->result ? "result" : "dead letter",
                 record->bytes, limit, rd_kafka_err2str(record->error));
    p->given_up = true;
    return DR_GIVEN_UP;
}

/* One step further down: failed, without carried headers, brief.  Without memory it is set aside. */
static dr_amendment make_smaller(dr_parcel *p, const dr_record *record)
{
    dr_error why, err;

    if (!p->result->error.status) {
        dr_fail(&why, DR_EIO,
                "the result has %zu bytes, more than topic %s accepts: ask for fewer images or "
                "for jpeg or webp, or raise the topic's max.message.bytes",
                record->bytes, p->topic);
        why.retriable = false;
        p->result->error = why;
        if (encode(p, &err)) {
            p->result->error.status = DR_OK;
            return DR_SET_ASIDE;
        }
        dr_log_warn("publisher", "job %s: %s", p->result->job->id, why.text);
        return DR_AMENDED;
    }
    if (!p->without_carried) {
        p->without_carried = true;
        return DR_AMENDED;
    }
    if (p->result->brief)
        return give_up(p, record);
    p->result->brief = true;
    if (encode(p, &err)) {
        p->result->brief = false;
        return DR_SET_ASIDE;
    }
    return DR_AMENDED;
}

static dr_amendment amend_size(dr_parcel *p, const dr_record *record)
{
    const bool known = record->bytes_max != SIZE_MAX;

    if (p->result)
        return make_smaller(p, record);
    if (record->bytes > p->dead_bytes_max) /* it was cut before, and can't be smaller */
        return give_up(p, record);
    dr_log_warn("publisher",
                "partition %d offset %lld: its dead letter of %zu bytes is larger than topic %s accepts, so "
                "it is cut",
                (int)p->origin.partition, (long long)p->origin.offset, record->bytes, p->topic);
    p->dead_bytes_max = known ? record->bytes_max : record->bytes / 2;
    return DR_AMENDED;
}

dr_amendment dr_parcel_amend(dr_parcel *p, const dr_record *record)
{
    if (dr_record_error_is_of_topic(record->error) && p->topic != p->usual_topic) {
        p->reply_error = record->error;
        p->topic = p->usual_topic;
        return DR_AMENDED;
    }
    if (dr_record_error_is_of_topic(record->error))
        return DR_SET_ASIDE;
    return dr_record_error_is_of_size(record->error) ? amend_size(p, record) : give_up(p, record);
}
