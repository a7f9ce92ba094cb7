/* Logins that are right, and what a worker says of those that are wrong: SASL and TLS at the ports of a real
 * broker (tests/kafka/broker.sh). */
#include "tests/kafka/real_broker.h"
#include "worker/delivery/consumer.h"

enum { SASL_PORT = 4, TLS_PORT = 5 };

typedef struct attempt {
    const char *name;
    int port; /* after the broker's first one */
    const char *protocol, *mechanism, *password;
} attempt;

/* The books of one consumer. */
static dr_books *books;

/* A consumer with that login, or NULL where its settings are refused. */
static dr_consumer *come(const arena *a, const attempt *t, dr_error *err)
{
    char at[64];
    const dr_property settings[] = { { "bootstrap.servers", at },
                                     { "security.protocol", (char *)t->protocol },
                                     { "sasl.mechanism", (char *)(t->mechanism ? t->mechanism : "PLAIN") },
                                     { "sasl.username", "darkroom" },
                                     { "sasl.password", (char *)(t->password ? t->password : "") } };
    const dr_kafka_options kafka = { settings, 5 };
    dr_consumer *c;

    snprintf(at, sizeof(at), "localhost:%d", atoi(strchr(brokers, ':') + 1) + t->port);
    assert_int_equal(dr_books_open(&books, a->jobs, t->name, err), DR_OK);
    if (dr_consumer_open(&c, &(dr_consumer_options){ kafka, "slot-0", books }, err) == DR_OK)
        return c;
    dr_books_close(books);
    return NULL;
}

static void go(dr_consumer *c)
{
    dr_consumer_close(c);
    dr_books_close(books);
}

static void a_login_that_is_right_has_its_partitions(void **state)
{
    static const attempt plain = { "login-plain", SASL_PORT, "sasl_plaintext", "PLAIN", "secret" };
    static const attempt scram = { "login-scram", SASL_PORT, "sasl_plaintext", "SCRAM-SHA-512", "secret" };
    dr_consumer *c;
    dr_error err;
    arena a;

    (void)state;
    arena_open(&a, "login", NULL);
    c = come(&a, &plain, &err);
    assert_non_null(c);
    assert_true(dr_books_wait_lease(books, 30000));
    assert_false(dr_consumer_reason(c, &err));
    go(c);

    c = come(&a, &scram, &err);
    if (rd_kafka_version() < 0x02060100) { /* it would not be let in */
        assert_null(c);
        assert_int_equal(err.status, DR_EINVAL);
        assert_non_null(strstr(err.text, "SCRAM-SHA-512 needs librdkafka 2.6.1"));
    } else {
        assert_non_null(c);
        assert_true(dr_books_wait_lease(books, 30000));
        go(c);
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
        dr_consumer *c = come(&a, &rows[i].attempt, &err);

        assert_non_null(c);
        while (!dr_consumer_reason(c, &why) && dr_clock_ms() < until_ms)
            sleep_ms(50);
        for (int w = 0; w < 2; w++)
            if (!strstr(why.text, rows[i].said[w]))
                fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].attempt.name, why.text, rows[i].said[w]);
        assert_null(strstr(why.text, "guess"));
        assert_int_equal(dr_books_fatal(books, &err), DR_OK); /* it may be mended while we try */
        go(c);
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
