#include "worker/kafka/topics.h"

#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    ASK_AGAIN_MS = 60000,  /* a limit that somebody raises is noticed this late */
    LOOK_AGAIN_MS = 3000,  /* a topic that could not be written to is looked at again this late */
    ANSWER_MAX_MS = 10000, /* the broker may take so long to tell a limit */
};

struct dr_topics {
    size_t client_bytes;
    rd_kafka_t *rk;
    rd_kafka_queue_t *answers;
    dr_topic *first;
};

dr_topics *dr_topics_create(size_t client_bytes)
{
    dr_topics *t = calloc(1, sizeof(*t));

    if (t)
        t->client_bytes = client_bytes;
    return t;
}

void dr_topics_free(dr_topics *t)
{
    dr_topic *topic;

    if (!t)
        return;
    dr_topics_use(t, NULL);
    while ((topic = t->first)) {
        t->first = topic->next;
        free(topic->name);
        free(topic);
    }
    free(t);
}

void dr_topics_use(dr_topics *t, rd_kafka_t *rk)
{
    if (t->answers)
        rd_kafka_queue_destroy(t->answers);
    t->rk = rk;
    t->answers = rk ? rd_kafka_queue_new(rk) : NULL;
    for (dr_topic *topic = t->first; topic; topic = topic->next)
        topic->asked_ms = 0; /* an answer that is on its way is lost */
}

dr_topic *dr_topics_find(dr_topics *t, const char *name)
{
    dr_topic *topic;

    for (topic = t->first; topic; topic = topic->next)
        if (strcmp(topic->name, name) == 0)
            return topic;
    topic = calloc(1, sizeof(*topic));
    if (topic)
        topic->name = strdup(name);
    if (!topic || !topic->name) {
        free(topic);
        return NULL;
    }
    topic->limit = topic->refused = topic->together = SIZE_MAX;
    topic->next = t->first;
    t->first = topic;
    return topic;
}

/* --- can it be written to? ------------------------------------------------------------------- */

/* The broker says nothing now.  A topic that could be written to counts as writable still: other parts
 * report that the broker is away. */
static dr_status keep_or_fail(dr_topic *topic, rd_kafka_resp_err_t code, dr_error *err)
{
    if (topic->looked_ms && !topic->unusable) {
        topic->looked_ms = dr_clock_ms();
        return DR_OK;
    }
    return dr_fail(err, DR_EIO, "asking the broker about topic %s: %s", topic->name, rd_kafka_err2str(code));
}

dr_status dr_topics_look(dr_topics *t, dr_topic *topic, int64_t age_ms, int timeout_ms, dr_error *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *handle;
    rd_kafka_resp_err_t code;

    if (topic->unusable && age_ms > LOOK_AGAIN_MS)
        age_ms = LOOK_AGAIN_MS;
    if (topic->looked_ms && dr_clock_ms() - topic->looked_ms < age_ms)
        return DR_OK;
    handle = rd_kafka_topic_new(t->rk, topic->name, NULL);
    if (!handle)
        return dr_fail(err, DR_EIO, "topic %s: %s", topic->name, rd_kafka_err2str(rd_kafka_last_error()));
    code = rd_kafka_metadata(t->rk, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (code)
        return keep_or_fail(topic, code, err);
    topic->unusable = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (topic->unusable == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
        topic->unusable = RD_KAFKA_RESP_ERR_NO_ERROR; /* it exists, and has a leader soon */
    rd_kafka_metadata_destroy(metadata);
    topic->looked_ms = dr_clock_ms();
    return DR_OK;
}

/* --- how much does it accept? ------------------------------------------------------------------ */

static void ask(dr_topics *t, dr_topic *topic)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic->name);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(t->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    char why[128];

    topic->asked_ms = dr_clock_ms();
    rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_MAX_MS, why, sizeof(why));
    rd_kafka_DescribeConfigs(t->rk, &resource, 1, options, t->answers);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
}

static void keep_limit(dr_topic *topic, size_t limit)
{
    if (limit == topic->limit && topic->refused > limit)
        return;
    dr_log_debug("outbox", "topic %s accepts %zu bytes in a batch", topic->name, limit);
    topic->limit = topic->together = limit;
    topic->refused = SIZE_MAX;
}

/* Reads the broker's answer.  If it tells no limit, what was learnt before stays, as long as an answer
 * would. */
static void read_answer(dr_topics *t, const rd_kafka_ConfigResource_t *resource)
{
    dr_topic *topic = dr_topics_find(t, rd_kafka_ConfigResource_name(resource));
    const rd_kafka_ConfigEntry_t **entries;
    size_t count;

    if (!topic || rd_kafka_ConfigResource_error(resource))
        return;
    entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        const unsigned long long limit = value ? strtoull(value, NULL, 10) : 0;
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0 && limit > 0)
            keep_limit(topic, (size_t)limit);
    }
}

void dr_topics_hear(dr_topics *t, dr_topic *topic)
{
    const int64_t now = dr_clock_ms();
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(t->answers, 0))) {
        const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
        size_t count = 0;
        const rd_kafka_ConfigResource_t **resources =
            result ? rd_kafka_DescribeConfigs_result_resources(result, &count) : NULL;
        for (size_t i = 0; i < count; i++)
            read_answer(t, resources[i]);
        rd_kafka_event_destroy(event);
    }
    if (topic->asked_ms && now - topic->asked_ms < ASK_AGAIN_MS)
        return;
    if (topic->limit == SIZE_MAX) /* this was learnt long ago: the topic may accept more by now */
        topic->refused = topic->together = SIZE_MAX;
    ask(t, topic);
}

size_t dr_topics_limit(const dr_topics *t, const dr_topic *topic)
{
    size_t limit = topic->limit < t->client_bytes ? topic->limit : t->client_bytes;

    if (topic->refused <= limit)
        limit = topic->refused - 1;
    return limit;
}

void dr_topics_refused_one(dr_topic *topic, size_t bytes)
{
    if (bytes < topic->refused)
        topic->refused = bytes;
    if (bytes <= topic->limit)
        topic->limit = SIZE_MAX; /* the broker has shown that its answer is out of date */
}

void dr_topics_refused_several(dr_topic *topic)
{
    if (topic->together == topic->limit || topic->together == SIZE_MAX)
        topic->together = 0; /* one record at a time, until larger batches were accepted */
    else
        topic->together /= 2;
}

void dr_topics_accepted(dr_topic *topic)
{
    if (topic->under_way > topic->together)
        topic->together = topic->under_way;
    topic->under_way = 0;
}
