#include "worker/delivery/control.h"

#include "base/limits.h"
#include "worker/jobs/proto_arena.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include "darkroom/v1/control.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 200, KEPT_MS = 3600 * 1000 };

typedef struct cancellation {
    char id[DR_NAME_BYTES_MAX + 1];
    int64_t time_ms; /* Unix */
} cancellation;

struct dr_control {
    rd_kafka_t *rk;
    char *topic;
    void (*on_cancel)(void *arg, const char *job_id, int64_t sent_until_ms);
    void *arg;
    pthread_t thread;
    bool started;
    atomic_bool closing;
    dr_kafka_nag nag;
    pthread_mutex_t lock;
    cancellation kept[DR_CANCELLATIONS_MAX]; /* a ring; the oldest is forgotten first */
    size_t next;
};

static void cancel(dr_control *c, const char *id, int64_t time_ms)
{
    cancellation *k;

    pthread_mutex_lock(&c->lock);
    k = &c->kept[c->next];
    c->next = (c->next + 1) % DR_CANCELLATIONS_MAX;
    snprintf(k->id, sizeof(k->id), "%s", id);
    k->time_ms = time_ms;
    pthread_mutex_unlock(&c->lock);
    c->on_cancel(c->arg, id, time_ms);
}

bool dr_control_is_canceled(dr_control *c, const char *job_id, int64_t sent_ms)
{
    const int64_t since_ms = dr_unix_ms() - KEPT_MS;
    bool found = false;

    if (!c)
        return false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < DR_CANCELLATIONS_MAX && !found; i++)
        found = c->kept[i].time_ms > since_ms && c->kept[i].time_ms >= sent_ms &&
                strcmp(c->kept[i].id, job_id) == 0;
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void obey(dr_control *c, const rd_kafka_message_t *m)
{
    const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
    Darkroom__V1__Control *control = NULL;
    rd_kafka_timestamp_type_t type;
    const int64_t time_ms = rd_kafka_message_timestamp(m, &type), now_ms = dr_unix_ms();
    dr_proto_arena arena;
    size_t size = 0;

    if (!m->payload || m->len > DR_CONTROL_BYTES_MAX || (time_ms > 0 && time_ms < now_ms - KEPT_MS))
        return;
    while (!dr_proto_arena_open(&arena, m->len)) { /* a command is not passed over because memory lacks */
        if (c->closing)
            return;
        nanosleep(&pause, NULL);
    }
    control = darkroom__v1__control__unpack(&arena.allocator, m->len, m->payload);
    if (control && control->command_case == DARKROOM__V1__CONTROL__COMMAND_CANCEL_JOB)
        size = dr_proto_string_size(&arena, control->cancel_job->id);
    if (size > 0 && size <= DR_NAME_BYTES_MAX && strlen(control->cancel_job->id) == size)
        cancel(c, control->cancel_job->id, time_ms > 0 ? time_ms : now_ms);
    else
        dr_log_warn("control", "%s[%d] offset %lld: this message is not a command, and is passed over",
                    c->topic, (int)m->partition, (long long)m->offset);
    dr_proto_arena_close(&arena);
}

static void *control_thread(void *arg)
{
    dr_control *c = arg;
    bool assigned = false;
    dr_error err;

    while (!c->closing) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, POLL_MS);
        if (m && !m->err)
            obey(c, m);
        if (m)
            rd_kafka_message_destroy(m);
        if (assigned)
            continue;
        assigned = dr_kafka_assign_all(c->rk, c->topic, POLL_MS, &err) == DR_OK;
        if (!assigned && dr_kafka_nag_due(&c->nag))
            dr_log_info("control", "the control topic can't be read yet, so jobs can't be canceled: %s",
                        err.text);
    }
    return NULL;
}

dr_status dr_control_open(dr_control **out, const dr_kafka_options *kafka, const char *topic,
                          void (*on_cancel)(void *arg, const char *job_id, int64_t sent_until_ms), void *arg,
                          dr_error *err)
{
    dr_control *c = calloc(1, sizeof(*c));
    dr_status rc;

    *out = NULL;
    if (!c)
        return dr_fail(err, DR_ENOMEM, "control: no memory");
    pthread_mutex_init(&c->lock, NULL);
    c->on_cancel = on_cancel;
    c->arg = arg;
    c->topic = strdup(topic);
    rc = c->topic ? dr_kafka_reader(&c->rk, kafka, "darkroom-control", err)
                  : dr_fail(err, DR_ENOMEM, "control: no memory");
    if (!rc && pthread_create(&c->thread, NULL, control_thread, c))
        rc = dr_fail(err, DR_ENOMEM, "control: no thread");
    if (rc) {
        dr_control_close(c);
        return rc;
    }
    c->started = true;
    *out = c;
    return DR_OK;
}

void dr_control_close(dr_control *c)
{
    if (!c)
        return;
    c->closing = true;
    if (c->started)
        pthread_join(c->thread, NULL);
    if (c->rk)
        dr_kafka_end_reader(c->rk);
    pthread_mutex_destroy(&c->lock);
    free(c->topic);
    free(c);
}
