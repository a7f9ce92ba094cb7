#include "worker/delivery/events.h"

#include "worker/support/clock.h"

#include "darkroom/v1/event.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum { CLOSE_MS = 1000 };

struct dr_events {
    rd_kafka_t *rk;
    char *topic, *worker;
    dr_series *sent, *dropped;
};

static const Darkroom__V1__EventKind kinds[] = {
    [DR_EVENT_QUEUED] = DARKROOM__V1__EVENT_KIND__EVENT_KIND_QUEUED,
    [DR_EVENT_STARTED] = DARKROOM__V1__EVENT_KIND__EVENT_KIND_STARTED,
    [DR_EVENT_STEP] = DARKROOM__V1__EVENT_KIND__EVENT_KIND_STEP,
    [DR_EVENT_FINISHED] = DARKROOM__V1__EVENT_KIND__EVENT_KIND_FINISHED,
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    dr_events *e = opaque;

    (void)rk;
    dr_series_add(m->err ? e->dropped : e->sent, 1);
}

dr_status dr_events_open(dr_events **out, const dr_kafka_options *kafka, const char *topic,
                         const char *worker, dr_metrics *metrics, dr_error *err)
{
    dr_events *e = calloc(1, sizeof(*e));
    rd_kafka_conf_t *conf = NULL;
    dr_status rc;

    *out = NULL;
    if (!e)
        return dr_fail(err, DR_ENOMEM, "events: no memory");
    e->topic = strdup(topic);
    e->worker = strdup(worker);
    rc = e->topic && e->worker ? dr_kafka_conf(&conf, DR_KAFKA_IDEMPOTENT, kafka, err)
                               : dr_fail(err, DR_ENOMEM, "events: no memory");
    if (!rc)
        rc = dr_kafka_conf_set(conf, "queue.buffering.max.messages", "4096", err);
    if (!rc)
        rc = dr_kafka_conf_set(conf, "message.timeout.ms", "10000", err);
    if (rc) {
        if (conf)
            rd_kafka_conf_destroy(conf);
        dr_events_close(e);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, e);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rc = dr_kafka_create(&e->rk, RD_KAFKA_PRODUCER, conf, err);
    if (rc) {
        dr_events_close(e);
        return rc;
    }
    e->sent = dr_metrics_counter(metrics, "darkroom_events_total", "Events by what became of them.",
                                 "state=\"sent\"");
    e->dropped = dr_metrics_counter(metrics, "darkroom_events_total", "Events by what became of them.",
                                    "state=\"dropped\"");
    *out = e;
    return DR_OK;
}

void dr_events_send(dr_events *e, const dr_job_event *event)
{
    Darkroom__V1__Event message = DARKROOM__V1__EVENT__INIT;
    rd_kafka_resp_err_t code;
    uint8_t *bytes;
    size_t size;

    if (!e)
        return;
    message.id = event->job->id;
    if (event->job->correlation_id)
        message.correlation_id = event->job->correlation_id;
    message.kind = kinds[event->kind];
    message.step = event->step;
    message.steps = event->job->steps;
    message.batch_samples = event->batch_samples;
    message.time_ms = dr_unix_ms();
    message.worker = e->worker;
    size = darkroom__v1__event__get_packed_size(&message);
    bytes = malloc(size ? size : 1);
    if (!bytes) {
        dr_series_add(e->dropped, 1);
        return;
    }
    darkroom__v1__event__pack(&message, bytes);
    code =
        rd_kafka_producev(e->rk, RD_KAFKA_V_TOPIC(e->topic), RD_KAFKA_V_KEY(message.id, strlen(message.id)),
                          RD_KAFKA_V_VALUE(bytes, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE),
                          RD_KAFKA_V_HEADER("content-type", "application/x-protobuf", -1), RD_KAFKA_V_END);
    if (code) {
        free(bytes);
        dr_series_add(e->dropped, 1);
    }
    rd_kafka_poll(e->rk, 0);
}

void dr_events_close(dr_events *e)
{
    if (!e)
        return;
    if (e->rk) {
        rd_kafka_flush(e->rk, CLOSE_MS);
        rd_kafka_purge(e->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(e->rk);
    }
    free(e->topic);
    free(e->worker);
    free(e);
}
