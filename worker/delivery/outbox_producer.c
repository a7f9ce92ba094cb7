/* outbox_producer.c - the producer: made, and replaced when it has failed for good. */
#include "worker/delivery/outbox_parts.h"
#include "worker/support/log.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    RENEWALS_MAX = 5, /* fenced this often in a row: another worker runs under the slot */
    CLOSE_MS = 1000,
};

void *dr_outbox_ticket(const dr_outbox *o, size_t index)
{
    return (void *)((uintptr_t)o->number << 16 | (uintptr_t)index);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    dr_outbox *o = opaque;
    const uintptr_t t = (uintptr_t)m->_private;

    (void)rk;
    if (t >> 16 != o->number)
        return;
    dr_assert((t & 0xffff) < o->count && o->outstanding > 0);
    o->records[t & 0xffff].error = m->err;
    o->refused |= dr_outbox_is_permanent(m->err);
    o->outstanding--;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk, (void)opaque;
    dr_log_debug("outbox", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static size_t number_of(const rd_kafka_conf_t *conf, const char *key)
{
    char text[32];
    size_t size = sizeof(text);

    if (rd_kafka_conf_get(conf, key, text, &size) != RD_KAFKA_CONF_OK)
        return SIZE_MAX;
    return (size_t)strtoull(text, NULL, 10);
}

/* Reads the producer's settings that decide how records are sent. */
static void read_settings(dr_outbox *o, const rd_kafka_conf_t *conf, size_t *client_bytes)
{
    char codec[32];
    size_t size = sizeof(codec);

    *client_bytes = number_of(conf, "message.max.bytes");
    o->batch_bytes = number_of(conf, "batch.size");
    if (o->batch_bytes > *client_bytes)
        o->batch_bytes = *client_bytes;
    o->compresses = rd_kafka_conf_get(conf, "compression.codec", codec, &size) != RD_KAFKA_CONF_OK ||
                    strcmp(codec, "none") != 0;
}

dr_status dr_outbox_create_producer(dr_outbox *o, dr_error *err)
{
    const bool exactly = o->options.delivery == DR_EXACTLY_ONCE;
    rd_kafka_conf_t *conf;
    size_t client_bytes;
    char *id;
    dr_status rc;

    rc = dr_kafka_conf(&conf, exactly ? DR_KAFKA_TRANSACTIONAL : DR_KAFKA_IDEMPOTENT, &o->options.kafka, err);
    if (rc)
        return rc;
    if (exactly) {
        id = dr_kafka_transactional_id(o->options.group, o->options.slot);
        rc = id ? dr_kafka_conf_set(conf, "transactional.id", id, err)
                : dr_fail(err, DR_ENOMEM, "outbox: no memory for the transactional id");
        free(id);
    }
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, o);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    read_settings(o, conf, &client_bytes);
    o->prepared = false;
    rc = dr_kafka_create(&o->rk, RD_KAFKA_PRODUCER, conf, err);
    if (rc)
        return rc;
    if (!o->topics)
        o->topics = dr_topics_create(client_bytes);
    if (!o->topics)
        return dr_fail(err, DR_ENOMEM, "outbox: no memory for the list of topics");
    dr_topics_use(o->topics, o->rk);
    return DR_OK;
}

void dr_outbox_destroy_producer(dr_outbox *o)
{
    if (!o->rk)
        return;
    o->number++; /* reports that come from now on belong to no send */
    if (o->topics)
        dr_topics_use(o->topics, NULL);
    rd_kafka_purge(o->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(o->rk, CLOSE_MS);
    rd_kafka_destroy(o->rk);
    o->rk = NULL;
}

dr_sent dr_outbox_renew_producer(dr_outbox *o, dr_error *err)
{
    dr_error why;

    dr_log_warn("outbox", "the producer failed for good; making a new one: %s", err->text);
    dr_outbox_destroy_producer(o);
    if (++o->renewals > RENEWALS_MAX || dr_outbox_create_producer(o, &why))
        return DR_SENT_NEVER;
    return DR_SENT_UNKNOWN;
}
