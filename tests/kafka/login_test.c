/* Who may in, and what is said to who may not: SASL and TLS at a real broker's ports (tests/kafka/broker.sh). */
#include "tests/kafka/real_broker.h"
#include "worker/delivery/source.h"

enum { SASL_PORT = 4, TLS_PORT = 5 };

typedef struct attempt {
    const char *name;
    int port; /* after the broker's first one */
    const char *protocol, *mechanism, *password;
} attempt;

/* A source with that login, or NULL where its settings are refused. */
static dr_source *come(const arena *a, const attempt *t, dr_error *err)
{
    char at[64];
    const dr_property settings[] = { { "bootstrap.servers", at },
                                     { "security.protocol", (char *)t->protocol },
                                     { "sasl.mechanism", (char *)(t->mechanism ? t->mechanism : "PLAIN") },
                                     { "sasl.username", "darkroom" },
                                     { "sasl.password", (char *)(t->password ? t->password : "") } };
    const dr_kafka_options kafka = { settings, 5 };
    dr_source *s;

    snprintf(at, sizeof(at), "localhost:%d", atoi(strchr(brokers, ':') + 1) + t->port);
    if (dr_source_open(&s, &(dr_source_options){ kafka, a->jobs, t->name, "slot-0" }, err))
        return NULL;
    return s;
}

static void a_login_that_is_right_has_its_partitions(void **state)
{
    static const attempt plain = { "login-plain", SASL_PORT, "sasl_plaintext", "PLAIN", "secret" };
    static const attempt scram = { "login-scram", SASL_PORT, "sasl_plaintext", "SCRAM-SHA-512", "secret" };
    dr_source *s;
    dr_error err;
    arena a;

    (void)state;
    arena_open(&a, "login", NULL);
    s = come(&a, &plain, &err);
    assert_non_null(s);
    assert_true(dr_source_wait_lease(s, 30000));
    assert_false(dr_source_reason(s, &err));
    dr_source_close(s);

    s = come(&a, &scram, &err);
    if (rd_kafka_version() < 0x02060100) { /* it would not be let in */
        assert_null(s);
        assert_int_equal(err.status, DR_EINVAL);
        assert_non_null(strstr(err.text, "SCRAM-SHA-512 needs librdkafka 2.6.1"));
    } else {
        assert_non_null(s);
        assert_true(dr_source_wait_lease(s, 30000));
        dr_source_close(s);
    }
    arena_close(&a);
}

static void who_is_not_let_in_is_told_why(void **state)
{
    static const struct {
        attempt attempt;
        const char *said[2];
    } rows[] = {
        { { "wrong-port-sasl", SASL_PORT, "plaintext", NULL, NULL },
          { "looks like a plaintext client at a port for TLS or SASL", "set kafka.security.protocol" } },
        { { "wrong-port-tls", TLS_PORT, "plaintext", NULL, NULL },
          { "looks like a plaintext client at a port for TLS or SASL", "set kafka.security.protocol" } },
        { { "wrong-password", SASL_PORT, "sasl_plaintext", "PLAIN", "guess" },
          { "the login failed", "Invalid username or password" } },
        { { "tls-at-plain", 0, "ssl", NULL, NULL },
          { "looks like a TLS client at a port without TLS", "localhost:" } },
        { { "unknown-certificate", TLS_PORT, "ssl", NULL, NULL }, { "TLS failed", "certificate" } },
    };
    arena a;

    (void)state;
    arena_open(&a, "refused", NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const int64_t until_ms = dr_clock_ms() + 30000;
        dr_error err = { 0 }, why = { 0 };
        dr_source *s = come(&a, &rows[i].attempt, &err);

        assert_non_null(s);
        while (!dr_source_reason(s, &why) && dr_clock_ms() < until_ms)
            sleep_ms(50);
        for (int w = 0; w < 2; w++)
            if (!strstr(why.text, rows[i].said[w]))
                fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].attempt.name, why.text, rows[i].said[w]);
        assert_null(strstr(why.text, "guess"));
        assert_int_equal(dr_source_fatal(s, &err), DR_OK); /* it may be mended while we try */
        dr_source_close(s);
    }
    arena_close(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_that_is_right_has_its_partitions),
        cmocka_unit_test(who_is_not_let_in_is_told_why),
    };

    return set_up(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
