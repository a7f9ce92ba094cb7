/* consumer_health.c - what is known of the brokers: errors, statistics, reasons. */
#include "worker/delivery/consumer_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void keep_fatal(dr_consumer *c)
{
    char why[256];
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(c->client->rk, why, sizeof(why));
    dr_error err;

    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        c->fenced = true;
    } else if (code) {
        dr_fail(&err, DR_EIO, "group %s: %s: %s", dr_books_group(c->books), rd_kafka_err2name(code), why);
        dr_books_fail(c->books, &err);
    }
}

/* Keeps the text as the reason, if it says why a broker can't be used.  True: it does.  Any thread. */
static bool keep_reason(dr_consumer *c, const rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *text)
{
    dr_error reason = { 0 };
    char protocol[32] = "";
    size_t size = sizeof(protocol);

    rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)rk), "security.protocol", protocol, &size);
    pthread_mutex_lock(&c->lock);
    const bool explained = dr_kafka_explain(c->answered ? NULL : protocol, code, text, &reason);
    if (explained)
        c->reason = reason;
    pthread_mutex_unlock(&c->lock);
    return explained;
}

/* librdkafka does not tell error callbacks that a broker has closed a connection: only its log says so. */
void dr_consumer_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    dr_consumer *c = rd_kafka_opaque(rk);

    dr_kafka_on_log(rk, level, facility, text);
    if (c && strcmp(facility, "FAIL") == 0 && strstr(text, "Disconnected"))
        keep_reason(c, rk, RD_KAFKA_RESP_ERR__TRANSPORT, text);
}

void dr_consumer_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    dr_consumer *c = opaque;
    dr_error why;

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        keep_fatal(c);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        pthread_mutex_lock(&c->lock);
        c->broker_up = false;
        why = c->reason;
        pthread_mutex_unlock(&c->lock);
        if (dr_kafka_nag_due(&c->broker_nag))
            dr_log_warn("consumer", "no broker can be reached (%s); still trying",
                        why.status ? why.text : reason);
    } else if (!keep_reason(c, rk, (rd_kafka_resp_err_t)code, reason) && dr_kafka_nag_due(&c->error_nag)) {
        dr_log_warn("consumer", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    }
}

void dr_consumer_note_broker(dr_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    c->broker_up = true;
    c->answered = true;
    c->reason = (dr_error){ 0 };
    pthread_mutex_unlock(&c->lock);
}

/* Only librdkafka's statistics say which brokers answer, and where the partitions end. */
int dr_consumer_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque)
{
    dr_consumer *c = opaque;
    json_t *root = json_loadb(json, size, 0, NULL), *broker, *topic, *partition;
    const char *key;
    bool up = false;

    (void)rk;
    json_object_foreach(json_object_get(root, "brokers"), key, broker)
    {
        const char *state = json_string_value(json_object_get(broker, "state"));
        up |= state && strcmp(state, "UP") == 0;
    }
    pthread_mutex_lock(&c->lock);
    c->broker_up = up;
    if (up)
        c->reason = (dr_error){ 0 };
    pthread_mutex_unlock(&c->lock);
    topic = json_object_get(json_object_get(root, "topics"), dr_books_topic(c->books));
    json_object_foreach(json_object_get(topic, "partitions"), key, partition)
    {
        const json_int_t end = json_integer_value(json_object_get(partition, "ls_offset"));
        dr_books_note_end(c->books, (int32_t)strtol(key, NULL, 10),
                          end); /* the books have no partition "-1" */
    }
    json_decref(root);
    return 0; /* librdkafka frees json */
}

static bool says_that_topic_is_gone(const rd_kafka_message_t *m)
{
    return m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

void dr_consumer_complain(dr_consumer *c, const rd_kafka_message_t *m)
{
    if (says_that_topic_is_gone(m) && dr_books_has_partitions(c->books))
        dr_books_set_topic_gone(c->books, true);
    if (m->err == RD_KAFKA_RESP_ERR__FATAL) {
        keep_fatal(c);
        return;
    }
    pthread_mutex_lock(&c->lock);
    dr_fail(&c->complaint, DR_EIO, "%s", rd_kafka_message_errstr(m));
    pthread_mutex_unlock(&c->lock);
    if (dr_kafka_nag_due(&c->error_nag))
        dr_log_warn("consumer", "%s: %s: %s", dr_books_topic(c->books), rd_kafka_err2name(m->err),
                    rd_kafka_message_errstr(m));
}

void dr_consumer_state_get(dr_consumer *c, dr_consumer_state *state)
{
    const bool leased = dr_books_wait_lease(c->books, 0);

    pthread_mutex_lock(&c->lock);
    if (leased)
        c->complaint.status = DR_OK;
    *state = (dr_consumer_state){
        .broker_up = c->broker_up,
        .complaint = c->complaint,
        .poll_age_ms = dr_clock_ms() - c->polled_ms,
    };
    pthread_mutex_unlock(&c->lock);
}

bool dr_consumer_reason(dr_consumer *c, dr_error *why)
{
    bool known;

    pthread_mutex_lock(&c->lock);
    known = !c->broker_up && c->reason.status;
    if (known)
        *why = c->reason;
    pthread_mutex_unlock(&c->lock);
    return known;
}
