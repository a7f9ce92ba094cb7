#include "worker/kafka/kafka.h"

#include "base/limits.h"
#include "worker/kafka/ending.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"
#include "worker/support/secrets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAG_EVERY_MS = 30000, LIBRDKAFKA_ERR = 3, LIBRDKAFKA_WARNING = 4 };

void dr_kafka_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    /* Consumer and publisher report these in their own words, and only once in a while. */
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

/* librdkafka before 2.6.1 sends its nonce twice, and brokers since Kafka 3.8.1 refuse that. */
static dr_status check_scram(const rd_kafka_conf_t *conf, dr_error *err)
{
    enum { FIRST_GOOD = 0x02060100 };
    char mechanism[64] = "", protocol[32] = "";
    size_t size = sizeof(mechanism);

    rd_kafka_conf_get(conf, "sasl.mechanisms", mechanism, &size);
    size = sizeof(protocol);
    rd_kafka_conf_get(conf, "security.protocol", protocol, &size);
    if (strncmp(protocol, "sasl_", 5) != 0 || strncmp(mechanism, "SCRAM-", 6) != 0 ||
        rd_kafka_version() >= FIRST_GOOD)
        return DR_OK;
    return dr_fail(err, DR_EINVAL,
                   "kafka.sasl.mechanism: %s needs librdkafka 2.6.1 or newer; brokers since Kafka 3.8.1 "
                   "refuse the login of "
                   "this one, %s. Build with a newer one (make RDKAFKA=newest build), or use PLAIN over "
                   "sasl_ssl",
                   mechanism, rd_kafka_version_str());
}

static long number_of(const rd_kafka_conf_t *conf, const char *key)
{
    char text[32] = "";
    size_t size = sizeof(text);

    rd_kafka_conf_get(conf, key, text, &size);
    return strtol(text, NULL, 10);
}

/* Pairs of settings that must fit each other, and that librdkafka itself does not check. */
static dr_status check_pairs(const rd_kafka_conf_t *conf, dr_kafka_role role, dr_error *err)
{
    const long session_ms = number_of(conf, "session.timeout.ms");
    const long heartbeat_ms = number_of(conf, "heartbeat.interval.ms");

    if (role == DR_KAFKA_GROUP_CONSUMER && heartbeat_ms > session_ms / 2)
        return dr_fail(err, DR_EINVAL,
                       "kafka.heartbeat.interval.ms: %ld is more than half of session.timeout.ms, %ld: one "
                       "late heartbeat "
                       "would end the membership",
                       heartbeat_ms, session_ms);
    return check_scram(conf, err);
}

/* The key without its prefix "consumer." or "producer."; NULL: it is for the other kind of client. */
static const char *key_for(dr_kafka_role role, const char *key)
{
    static const char consumer[] = "consumer.", producer[] = "producer.";
    const bool consumes = dr_kafka_role_consumes(role);

    if (strncmp(key, consumer, sizeof(consumer) - 1) == 0)
        return consumes ? key + sizeof(consumer) - 1 : NULL;
    if (strncmp(key, producer, sizeof(producer) - 1) == 0)
        return consumes ? NULL : key + sizeof(producer) - 1;
    return key;
}

static dr_status set_presets(rd_kafka_conf_t *conf, dr_kafka_role role, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; i < dr_kafka_preset_count && !rc; i++) {
        const dr_kafka_preset *p = &dr_kafka_presets[i];
        if (!(p->roles & 1u << role))
            continue;
        rc = dr_kafka_conf_set(conf, p->key, p->value, err);
        if (p->since_newest)
            rc = DR_OK; /* this librdkafka may not know it */
    }
    return rc;
}

dr_status dr_kafka_conf(rd_kafka_conf_t **out, dr_kafka_role role, const dr_kafka_options *options,
                        dr_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    dr_status rc;

    *out = NULL;
    rd_kafka_conf_set_log_cb(conf, dr_kafka_on_log);
    rc = set_presets(conf, role, err);
    for (size_t i = 0; i < options->count && !rc; i++) {
        const char *key = key_for(role, options->settings[i].key);
        if (!key)
            continue;
        rc = dr_kafka_setting_check(key, options->settings[i].value, err);
        if (!rc)
            rc = dr_kafka_conf_set(conf, key, options->settings[i].value, err);
    }
    if (!rc)
        rc = check_pairs(conf, role, err);
    if (rc)
        rd_kafka_conf_destroy(conf);
    else
        *out = conf;
    return rc;
}

dr_status dr_kafka_options_add(dr_kafka_options *to, const char *key, const char *value, dr_error *err)
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
        rc = dr_kafka_options_add(out, options->settings[i].key, options->settings[i].value, err);
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

char *dr_kafka_transactional_id(const char *group, const char *slot)
{
    char *id = NULL;
    size_t size;
    FILE *f = open_memstream(&id, &size);

    if (!f)
        return NULL;
    fputs("darkroom-", f);
    for (const char *c = group; *c; c++) {
        if (*c == '-' || *c == '%')
            fprintf(f, "%%%02X", (unsigned char)*c);
        else
            fputc(*c, f);
    }
    fprintf(f, "-%s", slot);
    if (fclose(f) == 0)
        return id;
    free(id);
    return NULL;
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
    rc = dr_kafka_conf_set(conf, "group.id", name, err); /* librdkafka wants it even if no group is joined */
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rc = dr_kafka_create(out, RD_KAFKA_CONSUMER, conf, err);
    if (!rc)
        rd_kafka_poll_set_consumer(*out);
    return rc;
}

/* --- the end of a reader ------------------------------------------------------------------ */

static void destroy_reader(void *rk)
{
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group */
}

void dr_kafka_end_reader(rd_kafka_t *rk)
{
    dr_endings *endings = dr_endings_create();

    if (!endings || !dr_endings_begin(endings, destroy_reader, rk))
        destroy_reader(rk);
    dr_endings_wait(endings);
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
        return dr_fail(err, DR_EIO, "topic %s: %s", topic, rd_kafka_err2str(code));
    list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return DR_OK;
}

enum { BROKER_MAX = 128, WHAT_MAX = 256, AT_ONCE_MS = 1000 };

/* Splits a text like "[thrd:main]: sasl_ssl://kafka-0:9093/bootstrap: Something (after 3ms in state UP)"
 * into the broker and what happened. */
static void split_reason(const char *text, char broker[BROKER_MAX], char what[WHAT_MAX])
{
    const char *rest = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL, *end;
    char *slash;

    text = rest ? rest + 3 : text;
    rest = strstr(text, ": ");
    snprintf(broker, BROKER_MAX, "%.*s", rest ? (int)(rest - text) : 0, text);
    slash = strrchr(broker, '/');
    if (slash) {
        text = rest + 2;
        *slash = '\0';
    } else {
        snprintf(broker, BROKER_MAX, "the broker");
    }
    end = strstr(text, " (after ");
    snprintf(what, WHAT_MAX, "%.*s", end ? (int)(end - text) : (int)strlen(text), text);
}

/* The text ends like "(after 2ms in state APIVERSION_QUERY": a broker does so with a client that it does
 * not understand, or that has not logged in. */
static bool was_closed_at_once(const char *text)
{
    const char *after = strstr(text, " (after ");

    if (!after || !strstr(text, "Disconnected"))
        return false;
    return strstr(after, "state APIVERSION_QUERY") ||
           (strstr(after, "state UP") && strtol(after + 8, NULL, 10) < AT_ONCE_MS);
}

/* A plaintext port does not understand the greeting of a TLS client: it hangs up, or answers in its own
 * way. */
static bool is_no_tls(const char *text)
{
    return strstr(text, "unexpected eof while reading") || strstr(text, "wrong version number") ||
           strstr(text, "PLAINTEXT broker");
}

bool dr_kafka_explain(const char *protocol, rd_kafka_resp_err_t code, const char *text, dr_error *why)
{
    char broker[BROKER_MAX], what[WHAT_MAX];

    split_reason(text, broker, what);
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        dr_fail(why, DR_EIO, "%s: the login failed: %s; see kafka.sasl.username and its password", broker,
                what);
        return true;
    case RD_KAFKA_RESP_ERR__SSL:
        if (is_no_tls(text))
            break;
        dr_fail(why, DR_EIO, "%s: TLS failed: %s", broker, what);
        return true;
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
        break;
    default:
        return false;
    }
    if (is_no_tls(text))
        dr_fail(why, DR_EIO,
                "%s: this looks like a TLS client at a port without TLS; set kafka.security.protocol",
                broker);
    else if (protocol && was_closed_at_once(text))
        dr_fail(
            why, DR_EIO,
            "%s: the broker closed the connection at once: this looks like a %s client at a port for %s; set "
            "kafka.security.protocol",
            broker, protocol, strcmp(protocol, "plaintext") == 0 ? "TLS or SASL" : "another protocol");
    else
        dr_fail(why, DR_EIO, "%s: %s", broker, what);
    return true;
}

bool dr_kafka_nag_due(dr_kafka_nag *nag)
{
    const int64_t now = dr_clock_ms();

    if (now < nag->next_ms)
        return false;
    nag->next_ms = now + NAG_EVERY_MS;
    return true;
}
