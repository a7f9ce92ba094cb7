#include "worker/kafka.h"

#include "base/limits.h"
#include "worker/clock.h"
#include "worker/log.h"
#include "worker/secrets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAG_EVERY_MS = 30000, LIBRDKAFKA_ERR = 3, LIBRDKAFKA_WARNING = 4 };

#define FOR(role) (1u << (role))
#define CONSUMERS (FOR(DR_KAFKA_GROUP_CONSUMER) | FOR(DR_KAFKA_READER))
#define PRODUCERS (FOR(DR_KAFKA_TRANSACTIONAL) | FOR(DR_KAFKA_IDEMPOTENT))

/* Preset: the user may say otherwise.  Fixed: `why` is what breaks if he does. */
static const struct row {
    unsigned roles;
    const char *key, *value;
    const char *why; /* NULL: a preset */
} rows[] = {
    { CONSUMERS, "enable.auto.commit", "false", "offsets are committed with the results" },
    { CONSUMERS, "enable.auto.offset.store", "false", "offsets are committed with the results" },
    { CONSUMERS, "isolation.level", "read_committed", "aborted jobs and results must not be seen" },
    { CONSUMERS, "enable.partition.eof", "true", "the end of a partition is where its markers are passed" },
    { FOR(DR_KAFKA_GROUP_CONSUMER), "partition.assignment.strategy", "range",
      "the incremental protocol loses its place in librdkafka before 2.6" },
    { PRODUCERS, "enable.idempotence", "true", "a retry would double messages" },
    { PRODUCERS, "acks", "all", "a message must survive its broker" },
    /* Jobs without a commit yet are old jobs, not jobs to be passed over. */
    { CONSUMERS, "auto.offset.reset", "earliest", NULL },
    /* Time for a pod to come back with its partitions; a dead one's jobs wait as long. */
    { FOR(DR_KAFKA_GROUP_CONSUMER), "session.timeout.ms", "30000", NULL },
    /* What is fetched waits for this worker alone: little of it, so that others get their share. */
    { FOR(DR_KAFKA_GROUP_CONSUMER), "queued.min.messages", "16", NULL },
    { FOR(DR_KAFKA_GROUP_CONSUMER), "queued.max.messages.kbytes", "32768", NULL },
    { CONSUMERS, "fetch.wait.max.ms", "250", NULL },
    { CONSUMERS, "fetch.error.backoff.ms", "100", NULL },
    { CONSUMERS, "statistics.interval.ms", "5000", NULL },
    { CONSUMERS, "max.partition.fetch.bytes", "8388608", NULL },
    /* The broker decides what is too large, not the client. */
    { PRODUCERS, "message.max.bytes", "100000000", NULL },
    /* Two results that are each small enough must not make one batch that is too large. */
    { PRODUCERS, "batch.size", "65536", NULL },
    { PRODUCERS, "linger.ms", "2", NULL },
    /* Only publishing happens in a transaction, so a dead worker's readers wait this long at most. */
    { FOR(DR_KAFKA_TRANSACTIONAL), "transaction.timeout.ms", "15000", NULL },
    { FOR(DR_KAFKA_TRANSACTIONAL), "message.timeout.ms", "10000", NULL },
    { PRODUCERS | CONSUMERS, "log.connection.close", "false", NULL },
    { PRODUCERS | CONSUMERS, "reconnect.backoff.max.ms", "2000", NULL },
    { PRODUCERS | CONSUMERS, "allow.auto.create.topics", "false", NULL },
    { PRODUCERS | CONSUMERS, "client.id", "darkroom", NULL },
};

/* Set by the program from the slot's name. */
static const char *const ours[] = { "group.id", "group.instance.id", "transactional.id", "group.protocol" };

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    /* Told by source and publisher in their own words, and once in a while. */
    static const char *const told[] = { "FAIL", "ERROR", "TXNERR", "FATAL", "AUTOCREATE", "GETPID" };
    bool known = false;

    (void)rk;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        known |= strcmp(facility, told[i]) == 0;
    if (level <= LIBRDKAFKA_ERR && !known)
        dr_log_warn("kafka", "%s: %s", facility, text);
    else if (level <= LIBRDKAFKA_WARNING && !known)
        dr_log_info("kafka", "%s: %s", facility, text);
    else
        dr_log_debug("kafka", "%s: %s", facility, text);
}

dr_status dr_kafka_conf_set(rd_kafka_conf_t *conf, const char *key, const char *value, dr_error *err)
{
    char why[256];

    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
        return dr_fail(err, DR_EINVAL, "kafka.%s: %s", key,
                       dr_secret_key(key) ? "librdkafka refuses its value" : why);
    return DR_OK;
}

static dr_status refuse_ours(const char *key, dr_error *err)
{
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcmp(key, ours[i]) == 0)
            return dr_fail(err, DR_EINVAL, "kafka.%s: is set by Darkroom from its group and slot", key);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].why && strcmp(key, rows[i].key) == 0)
            return dr_fail(err, DR_EINVAL, "kafka.%s: has to be %s: %s", key, rows[i].value, rows[i].why);
    return DR_OK;
}

/* The key without its "consumer." or "producer.", or NULL where it is meant for the other kind. */
static const char *key_for(dr_kafka_role role, const char *key)
{
    static const char consumer[] = "consumer.", producer[] = "producer.";
    const bool consumes = FOR(role) & CONSUMERS;

    if (strncmp(key, consumer, sizeof(consumer) - 1) == 0)
        return consumes ? key + sizeof(consumer) - 1 : NULL;
    if (strncmp(key, producer, sizeof(producer) - 1) == 0)
        return consumes ? NULL : key + sizeof(producer) - 1;
    return key;
}

dr_status dr_kafka_conf(rd_kafka_conf_t **out, dr_kafka_role role, const dr_kafka_options *options,
                        dr_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    dr_status rc = DR_OK;

    *out = NULL;
    rd_kafka_conf_set_log_cb(conf, on_log);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
        if (rows[i].roles & FOR(role))
            rc = dr_kafka_conf_set(conf, rows[i].key, rows[i].value, err);
    for (size_t i = 0; i < options->count && !rc; i++) {
        const char *key = key_for(role, options->settings[i].key);
        if (!key)
            continue;
        rc = refuse_ours(key, err);
        if (!rc)
            rc = dr_kafka_conf_set(conf, key, options->settings[i].value, err);
    }
    if (rc)
        rd_kafka_conf_destroy(conf);
    else
        *out = conf;
    return rc;
}

static dr_status add_setting(dr_kafka_options *to, const char *key, const char *value, dr_error *err)
{
    dr_property *settings = realloc((dr_property *)to->settings, (to->count + 1) * sizeof(*settings));
    dr_property *last;

    if (settings) {
        to->settings = settings;
        last = &settings[to->count++];
        last->key = strdup(key);
        last->value = strdup(value);
        if (last->key && last->value)
            return DR_OK;
    }
    dr_kafka_options_free(to);
    return dr_fail(err, DR_ENOMEM, "kafka: no memory for its settings");
}

dr_status dr_kafka_options_copy(dr_kafka_options *out, const dr_kafka_options *options, dr_error *err)
{
    dr_status rc = DR_OK;

    *out = (dr_kafka_options){ 0 };
    for (size_t i = 0; i < options->count && !rc; i++)
        rc = add_setting(out, options->settings[i].key, options->settings[i].value, err);
    return rc;
}

dr_status dr_kafka_options_from(dr_kafka_options *out, const dr_config *config, dr_error *err)
{
    dr_status rc;

    *out = (dr_kafka_options){ 0 };
    rc = add_setting(out, "bootstrap.servers", config->brokers, err);
    for (size_t i = 0; i < config->kafka_count && !rc; i++)
        rc = add_setting(out, config->kafka[i].key, config->kafka[i].value, err);
    return rc;
}

void dr_kafka_options_free(dr_kafka_options *copy)
{
    for (size_t i = 0; i < copy->count; i++) {
        free(copy->settings[i].key);
        free(copy->settings[i].value);
    }
    free((dr_property *)copy->settings);
    *copy = (dr_kafka_options){ 0 };
}

dr_status dr_kafka_create(rd_kafka_t **out, rd_kafka_type_t type, rd_kafka_conf_t *conf, dr_error *err)
{
    char why[256];

    *out = rd_kafka_new(type, conf, why, sizeof(why));
    if (*out)
        return DR_OK;
    rd_kafka_conf_destroy(conf);
    return dr_fail(err, DR_EINVAL, "kafka: %s", why);
}

dr_status dr_kafka_reader(rd_kafka_t **out, const dr_kafka_options *options, const char *name, dr_error *err)
{
    rd_kafka_conf_t *conf;
    dr_status rc = dr_kafka_conf(&conf, DR_KAFKA_READER, options, err);

    *out = NULL;
    if (rc)
        return rc;
    rc = dr_kafka_conf_set(conf, "group.id", name, err); /* asked for even where no group is joined */
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rc = dr_kafka_create(out, RD_KAFKA_CONSUMER, conf, err);
    if (!rc)
        rd_kafka_poll_set_consumer(*out);
    return rc;
}

dr_status dr_kafka_assign_all(rd_kafka_t *rk, const char *topic, int timeout_ms, dr_error *err)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code;
    int partitions = 0;

    code = rd_kafka_metadata(rk, 0, handle, &metadata, timeout_ms);
    if (!code && metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
        partitions = metadata->topics[0].partition_cnt;
    }
    rd_kafka_topic_destroy(handle);
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    if (code || partitions == 0)
        return dr_fail(err, DR_EIO, "%s: %s", topic, rd_kafka_err2str(code));
    list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return DR_OK;
}

bool dr_kafka_nag_due(dr_kafka_nag *nag)
{
    const int64_t now = dr_clock_ms();

    if (now < nag->next_ms)
        return false;
    nag->next_ms = now + NAG_EVERY_MS;
    return true;
}

const void *dr_kafka_header(const rd_kafka_headers_t *headers, const char *name, size_t *size)
{
    const void *value;

    if (!headers || rd_kafka_header_get_last(headers, name, &value, size))
        return NULL;
    return value;
}
