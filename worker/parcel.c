#include "worker/parcel.h"

#include "worker/dead_letter.h"
#include "worker/log.h"

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

static dr_status encode(dr_parcel *p, dr_error *err)
{
    free(p->bytes);
    p->bytes = NULL;
    return dr_result_encode(p->result, p->worker, &p->bytes, &p->size, err);
}

/* Instead of the pictures, why there are none. */
static dr_status encode_failure(dr_parcel *p, const dr_error *why, dr_error *err)
{
    dr_log_warn("publisher", "job %s: %s", p->result->job->id, why->text);
    free_pictures(p->result);
    p->result->error = *why;
    return encode(p, err);
}

dr_parcel *dr_parcel_of_result(dr_result *result, const char *worker, const char *topic)
{
    dr_parcel *p = calloc(1, sizeof(*p));
    dr_error why, err;

    if (!p)
        return NULL;
    p->result = result;
    p->origin = result->job->origin;
    p->worker = worker;
    p->usual_topic = topic;
    p->topic = result->job->reply_topic ? result->job->reply_topic : topic;
    if (encode(p, &why) && encode_failure(p, &why, &err)) {
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
    p->origin = (dr_job_origin){ .partition = message->partition, .offset = message->offset };
    p->dead = message;
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

void dr_parcel_carry(dr_parcel *p, rd_kafka_headers_t *headers)
{
    if (!p->result) { /* a dead letter has all of its own */
        if (headers)
            rd_kafka_headers_destroy(headers);
        return;
    }
    if (p->headers)
        rd_kafka_headers_destroy(p->headers);
    p->headers = headers ? headers : rd_kafka_headers_new(1);
    rd_kafka_header_add(p->headers, "content-type", -1, "application/x-protobuf", -1);
}

dr_record dr_parcel_record(dr_parcel *p, const char *jobs_topic, const char *group)
{
    if (p->result)
        return (dr_record){
            .topic = p->topic,
            .key = p->result->job->id,
            .key_size = strlen(p->result->job->id),
            .value = p->bytes,
            .value_size = p->size,
            .headers = p->headers,
        };
    if (!p->headers)
        p->headers = dr_dead_letter_headers(p->dead, jobs_topic, group, &p->why);
    return (dr_record){
        .topic = p->topic,
        .key = p->dead->key,
        .key_size = p->dead->key_len,
        .value = p->without_value ? NULL : p->dead->payload,
        .value_size = p->without_value ? 0 : p->dead->len,
        .headers = p->headers,
    };
}

bool dr_parcel_amend(dr_parcel *p, rd_kafka_resp_err_t code)
{
    dr_error why, err;

    if (p->topic != p->usual_topic && code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        dr_log_warn("publisher", "job %s: its reply topic %s: %s; the result goes to %s", p->result->job->id,
                    p->topic, rd_kafka_err2str(code), p->usual_topic);
        p->topic = p->usual_topic;
        return true;
    }
    if (code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return false;
    if (p->dead && !p->without_value) {
        p->without_value = true;
        return true;
    }
    if (!p->result || p->result->error.status)
        return false;
    dr_fail(&why, DR_EIO,
            "the result has %zu bytes, more than the broker takes for %s: ask for fewer images or "
            "for jpeg or webp, or raise the topic's max.message.bytes",
            p->size, p->topic);
    why.retriable = false;
    return encode_failure(p, &why, &err) == DR_OK;
}
