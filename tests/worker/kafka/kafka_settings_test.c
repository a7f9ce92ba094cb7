/* librdkafka's settings: which ones a user may set, and what is said of the others. */
#include "worker/kafka/kafka.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dr_status conf_with(dr_kafka_role role, const dr_property *settings, size_t count, dr_error *err)
{
    const dr_kafka_options options = { settings, count };
    rd_kafka_conf_t *conf;
    const dr_status rc = dr_kafka_conf(&conf, role, &options, err);

    if (!rc)
        rd_kafka_conf_destroy(conf);
    return rc;
}

static dr_status conf_one(dr_kafka_role role, const char *key, const char *value, dr_error *err)
{
    const dr_property setting = { (char *)key, (char *)value };

    return conf_with(role, &setting, 1, err);
}

/* The list that librdkafka prints of itself: "key | C/P | range | ...". */
static void every_setting_of_librdkafka_is_thought_about(void **state)
{
    char *text = NULL, *line, *rest;
    size_t size, seen = 0;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    rd_kafka_conf_properties_show(f);
    fclose(f);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char key[96];
        if (!strchr(line, '|') || sscanf(line, "%95[a-z0-9._]", key) != 1)
            continue;
        seen++;
        if (!dr_kafka_setting_known(key))
            fail_msg("%s stands in no row of worker/kafka/kafka_settings.c", key);
    }
    assert_true(seen > 150);
    free(text);
}

/* Settings that librdkafka has but does not print. */
static void hidden_settings_are_thought_about(void **state)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    size_t count;
    const char **list = rd_kafka_conf_dump(conf, &count);

    (void)state;
    assert_true(count > 100);
    for (size_t i = 0; i < count; i += 2)
        if (!dr_kafka_setting_known(list[i]))
            fail_msg("%s stands in no row of worker/kafka/kafka_settings.c", list[i]);
    rd_kafka_conf_dump_free(list, count);
    rd_kafka_conf_destroy(conf);
}

/* What users set, in each kind of client. */
static void what_operators_need_may_be_set(void **state)
{
    static const dr_property settings[] = {
        { "bootstrap.servers", "a:9092,b:9092" },
        { "client.rack", "eu-1a" },
        { "client.id", "darkroom-eu" },
        { "security.protocol", "sasl_ssl" },
        { "ssl.ca.location", "/etc/ssl/certs" },
        { "ssl.endpoint.identification.algorithm", "none" },
        { "sasl.mechanism", "PLAIN" },
        { "sasl.username", "darkroom" },
        { "sasl.password", "secret" },
        { "socket.keepalive.enable", "true" },
        { "socket.timeout.ms", "10000" },
        { "broker.address.family", "v4" },
        { "connections.max.idle.ms", "180000" },
        { "reconnect.backoff.max.ms", "10000" },
        { "compression.type", "zstd" },
        { "debug", "broker,security" },
        { "consumer.session.timeout.ms", "45000" },
        { "consumer.heartbeat.interval.ms", "3000" },
        { "consumer.queued.max.messages.kbytes", "4096" },
        { "producer.transaction.timeout.ms", "60000" },
        { "producer.linger.ms", "5" },
        /* What is so anyhow may be said: it often comes in a file that others use too. */
        { "enable.auto.commit", "false" },
        { "producer.acks", "all" },
        { "consumer.isolation.level", "read_committed" },
    };
    dr_error err;

    (void)state;
    for (dr_kafka_role role = DR_KAFKA_GROUP_CONSUMER; role <= DR_KAFKA_IDEMPOTENT; role++)
        if (conf_with(role, settings, sizeof(settings) / sizeof(settings[0]), &err))
            fail_msg("role %d: %s", (int)role, err.text);
}

static void what_delivery_cannot_live_with_is_refused(void **state)
{
    /* key, value, a word of the reason */
    static const char *const wrong[][3] = {
        { "delivery.report.only.error", "true", "wait for ever" },
        { "producer.delivery.report.only.error", "true", "wait for ever" },
        { "test.mock.num.brokers", "3", "made up" },
        { "message.max.bytes", "1000", "4096..1000000000" },
        { "acks", "1", "survive" },
        { "request.required.acks", "0", "survive" },
        { "enable.idempotence", "false", "double" },
        { "enable.auto.commit", "true", "committed with the results" },
        { "auto.commit.enable", "true", "committed with the results" },
        { "auto.offset.reset", "latest", "pass over" },
        { "isolation.level", "read_uncommitted", "aborted" },
        { "enable.partition.eof", "false", "markers" },
        { "partition.assignment.strategy", "cooperative-sticky", "loses its place" },
        { "group.id", "x", "Darkroom sets it" },
        { "group.instance.id", "x", "Darkroom sets it" },
        { "transactional.id", "x", "Darkroom sets it" },
        { "group.protocol", "consumer", "classic" },
        { "retries", "0", "message.timeout.ms" },
        { "queue.buffering.max.messages", "1", "queue" },
        { "receive.message.max.bytes", "1000", "never be read" },
        { "topic.blacklist", "darkroom", "never read" },
        { "enabled_events", "255", "callbacks" },
        { "api.version.request", "false", "transactions" },
        { "batch.size", "2000000", "1024..1000000" },
        { "statistics.interval.ms", "0", "1000..60000" },
        { "session.timeout.ms", "10", "1000..1800000" },
        { "message.timeout.ms", "0", "1000..900000" },
        { "transaction.timeout.ms", "1000000", "3000..900000" },
        { "queued.max.messages.kbytes", "1", "1024..2097151" },
        { "topic.metadata.refresh.interval.ms", "-1", "1000..3600000" },
        { "linger.ms", "900000", "0..1000" },
        { "no.such.setting", "1", "no setting" },
    };
    dr_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const dr_kafka_role role =
            strncmp(wrong[i][0], "producer.", 9) == 0 ? DR_KAFKA_TRANSACTIONAL : DR_KAFKA_GROUP_CONSUMER;
        const char *key = strncmp(wrong[i][0], "producer.", 9) == 0 ? wrong[i][0] + 9 : wrong[i][0];
        err.text[0] = '\0';
        if (conf_one(role, wrong[i][0], wrong[i][1], &err) != DR_EINVAL)
            fail_msg("%s = %s was taken", wrong[i][0], wrong[i][1]);
        if (!strstr(err.text, key) || !strstr(err.text, wrong[i][2]))
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i][0], err.text, wrong[i][2]);
    }
}

/* A bound that is in nobody's way: the presets and librdkafka's own defaults are within it. */
static void presets_are_within_bounds(void **state)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    size_t count;
    const char **list = rd_kafka_conf_dump(conf, &count);
    long min, max;
    int bounded = 0;

    (void)state;
    for (int i = 0; i < dr_kafka_preset_count; i++)
        if (dr_kafka_setting_bounds(dr_kafka_presets[i].key, &min, &max)) {
            assert_in_range(atol(dr_kafka_presets[i].value), min, max);
            bounded++;
        }
    assert_true(bounded > 8);
    for (size_t i = 0; i < count; i += 2)
        /* These two we set ourselves because of their defaults. */
        if (dr_kafka_setting_bounds(list[i], &min, &max) && strcmp(list[i], "queued.min.messages") != 0 &&
            strcmp(list[i], "statistics.interval.ms") != 0)
            if (atol(list[i + 1]) < min || atol(list[i + 1]) > max)
                fail_msg("%s: librdkafka's own %s is not within %ld..%ld", list[i], list[i + 1], min, max);
    rd_kafka_conf_dump_free(list, count);
    rd_kafka_conf_destroy(conf);
}

static void librdkafka_has_its_own_word(void **state)
{
    dr_error err;

    (void)state;
    assert_int_equal(conf_one(DR_KAFKA_GROUP_CONSUMER, "session.timeout.ms", "soon", &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "session.timeout.ms"));
    assert_int_equal(conf_one(DR_KAFKA_IDEMPOTENT, "security.protocol", "tls", &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "security.protocol"));
}

static void a_heartbeat_has_time_to_be_late(void **state)
{
    static const dr_property slow[] = { { "session.timeout.ms", "6000" },
                                        { "heartbeat.interval.ms", "3001" } };
    static const dr_property fine[] = { { "session.timeout.ms", "6000" },
                                        { "heartbeat.interval.ms", "3000" } };
    dr_error err;

    (void)state;
    assert_int_equal(conf_with(DR_KAFKA_GROUP_CONSUMER, slow, 2, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "heartbeat.interval.ms"));
    assert_int_equal(conf_with(DR_KAFKA_GROUP_CONSUMER, fine, 2, &err), DR_OK);
}

/* librdkafka before 2.6.1 cannot log in by SCRAM.  The program says so at the start, and what to do. */
static void scram_needs_a_librdkafka_that_can(void **state)
{
    static const dr_property scram[] = { { "security.protocol", "sasl_ssl" },
                                         { "sasl.mechanism", "SCRAM-SHA-512" },
                                         { "sasl.username", "darkroom" } };
    static const dr_property unused[] = { { "security.protocol", "ssl" },
                                          { "sasl.mechanism", "SCRAM-SHA-256" } };
    const bool can = rd_kafka_version() >= 0x02060100;
    dr_error err;

    (void)state;
    for (dr_kafka_role role = DR_KAFKA_GROUP_CONSUMER; role <= DR_KAFKA_IDEMPOTENT; role++) {
        assert_int_equal(conf_with(role, scram, 3, &err), can ? DR_OK : DR_EINVAL);
        assert_int_equal(conf_with(role, unused, 2, &err), DR_OK);
    }
    if (can)
        return;
    conf_with(DR_KAFKA_READER, scram, 3, &err);
    assert_non_null(strstr(err.text, "2.6.1"));
    assert_non_null(strstr(err.text, rd_kafka_version_str()));
    assert_non_null(strstr(err.text, "RDKAFKA=newest"));
}

/* Two workers with one transactional id would fence each other for ever. */
static void no_two_names_give_one_transactional_id(void **state)
{
    static const char *const names[] = { "G",     "G-x",     "G-x-0", "x", "0",    "x-0",  "-",
                                         "G%2Dx", "G%252Dx", "%2D",   "%", "x-0-", "G-x-", "%-" };
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    char *ids[NAMES * NAMES];

    (void)state;
    for (int g = 0; g < NAMES; g++)
        for (int w = 0; w < NAMES; w++) {
            char *id = ids[g * NAMES + w] = dr_kafka_transactional_id(names[g], names[w]);
            assert_non_null(id);
            assert_int_equal(strncmp(id, "darkroom-", 9), 0); /* rights are given by this prefix */
            for (int i = 0; i < g * NAMES + w; i++)
                if (strcmp(ids[i], id) == 0)
                    fail_msg("%s/%s and %s/%s are both %s", names[i / NAMES], names[i % NAMES], names[g],
                             names[w], id);
        }
    for (int i = 0; i < NAMES * NAMES; i++)
        free(ids[i]);
}

/* Installations in use depend on these names: rights are given to them, and dead workers left transactions
 * open. */
static void usual_names_keep_their_transactional_id(void **state)
{
    char *id = dr_kafka_transactional_id("darkroom", "worker-0");

    (void)state;
    assert_string_equal(id, "darkroom-darkroom-worker-0");
    free(id);
    id = dr_kafka_transactional_id("team-a", "worker-0");
    assert_string_equal(id, "darkroom-team%2Da-worker-0");
    free(id);
}

/* As librdkafka 2.0.2 and 2.15.1 say it. */
static void what_librdkafka_says_is_said_in_words(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        const char *protocol, *text, *said;
    } rows[] = {
        { RD_KAFKA_RESP_ERR__TRANSPORT, "plaintext",
          "b-0:9093/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect "
          "security.protocol "
          "configuration (connecting to a SSL listener?) (after 2ms in state APIVERSION_QUERY)",
          "b-0:9093: the broker closed the connection at once: this looks like a plaintext client at a port "
          "for TLS or "
          "SASL; set kafka.security.protocol" },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "plaintext",
          "[thrd:b-0:9093/bootstrap]: b-0:9093/bootstrap: Disconnected: connection closed by peer: receive 0 "
          "after POLLIN "
          "(after 1ms in state UP)",
          "b-0:9093: the broker closed the connection at once: this looks like a plaintext client at a port "
          "for TLS or "
          "SASL; set kafka.security.protocol" },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "sasl_plaintext",
          "sasl_plaintext://b-0:9093/1: Disconnected (after 1ms in state APIVERSION_QUERY)",
          "sasl_plaintext://b-0:9093: the broker closed the connection at once: this looks like a "
          "sasl_plaintext client at "
          "a port for another protocol; set kafka.security.protocol" },
        /* A broker has answered before: then it may be a proxy that closes, but no wrong protocol. */
        { RD_KAFKA_RESP_ERR__TRANSPORT, NULL,
          "b-0:9092/1: Disconnected (after 0ms in state APIVERSION_QUERY)", "b-0:9092: Disconnected" },
        /* One that was there and has gone is no riddle. */
        { RD_KAFKA_RESP_ERR__TRANSPORT, "plaintext", "b-0:9092/1: Disconnected (after 600123ms in state UP)",
          "b-0:9092: Disconnected" },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "plaintext",
          "b-0:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state "
          "CONNECT)",
          "b-0:9092: Connect to ipv4#10.0.0.1:9092 failed: Connection refused" },
        { RD_KAFKA_RESP_ERR__AUTHENTICATION, "sasl_ssl",
          "sasl_ssl://b-0:9093/bootstrap: SASL authentication error: Invalid username (after 302ms in state "
          "AUTH_REQ)",
          "sasl_ssl://b-0:9093: the login failed: SASL authentication error: Invalid username; see "
          "kafka.sasl.username and "
          "its password" },
        { RD_KAFKA_RESP_ERR__SSL, "ssl", "no broker is named here",
          "the broker: TLS failed: no broker is named here" },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "plaintext", "", "the broker: " },
    };
    dr_error why;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(dr_kafka_explain(rows[i].protocol, rows[i].code, rows[i].text, &why));
        assert_string_equal(why.text, rows[i].said);
    }
    assert_false(dr_kafka_explain("plaintext", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "x", &why));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_of_librdkafka_is_thought_about),
        cmocka_unit_test(hidden_settings_are_thought_about),
        cmocka_unit_test(what_operators_need_may_be_set),
        cmocka_unit_test(what_delivery_cannot_live_with_is_refused),
        cmocka_unit_test(presets_are_within_bounds),
        cmocka_unit_test(librdkafka_has_its_own_word),
        cmocka_unit_test(a_heartbeat_has_time_to_be_late),
        cmocka_unit_test(no_two_names_give_one_transactional_id),
        cmocka_unit_test(usual_names_keep_their_transactional_id),
        cmocka_unit_test(what_librdkafka_says_is_said_in_words),
        cmocka_unit_test(scram_needs_a_librdkafka_that_can),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
