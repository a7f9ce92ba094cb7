/* `darkroom worker` without a broker: it keeps trying, says so, is alive but not ready, and ends at a
 * signal. */
#include "tests/support/http_get.h"
#include "tests/worker/program.h"
#include "worker/support/clock.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>

enum { START_TRIES = 1200 };

/* The port that the worker has chosen; its log says it. */
static int port_of_it(void)
{
    static const char says[] = "metrics and probes on 127.0.0.1:";
    int port = 0;

    for (int i = 0; i < START_TRIES && port == 0; i++) {
        char *text = NULL;
        size_t size;

        usleep(50000);
        if (dr_file_read(program_said, 1 << 20, (void **)&text, &size, NULL))
            continue; /* it has not begun */
        const char *at = strstr(text, says);
        if (at && strchr(at, '\n'))
            port = atoi(at + strlen(says));
        free(text);
    }
    assert_true(port > 0);
    return port;
}

static void it_is_alive_and_not_ready(void **state)
{
    char body[HTTP_BODY_MAX];
    char *argv[] = { program, "worker", "--brokers",   "127.0.0.1:1",  "--device", "null", "--worker",
                     "away",  "--http", "127.0.0.1:0", "--log-format", "text",     NULL };
    int port;
    pid_t pid;

    (void)state;
    pid = program_spawn(argv);
    port = port_of_it();
    assert_int_equal(http_get(port, "/healthz", body), 200);
    assert_int_equal(http_get(port, "/readyz", body), 503);
    assert_non_null(strstr(body, "no broker answers"));
    for (int i = 0; i < START_TRIES && !program_has_said("no broker can be reached"); i++)
        usleep(50000);
    assert_true(program_has_said("no broker can be reached"));
    assert_int_equal(http_get(port, "/readyz", body), 503); /* still trying */
    assert_int_equal(http_get(port, "/healthz", body), 200);
    assert_int_equal(http_get(port, "/", body), 404);
    assert_non_null(strstr(body, "/metrics"));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_code(pid), 0);
}

/* The port is opened before the worker joins a group, because joining would take partitions from others.
 * The test sees the order: two things are wrong, and the error is about the port. */
static void a_port_that_is_taken_is_known_first(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char where[32];
    char *argv[] = {
        program, "worker", "--brokers", "127.0.0.1:1", "--device", "none", "--http", where, NULL
    };

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    snprintf(where, sizeof(where), "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(program_code(program_spawn(argv)), 1);
    assert_true(program_has_said("in use"));
    strcpy(where, "localhost:99999");
    assert_int_equal(program_code(program_spawn(argv)), 2);
    assert_true(program_has_said("the port is 0..65535"));
    close(fd);
}

/* init_transactions waits for the broker, and librdkafka has no call that ends it.  So the worker makes it
 * in short slices.  One success in several tries is enough, since others may have the processors. */
static void it_ends_soon(void **state)
{
    enum { TIMES = 5, SOON_MS = 4000 };
    char *argv[] = { program, "worker", "--brokers",   "127.0.0.1:1", "--device", "null", "--worker",
                     "away",  "--http", "127.0.0.1:0", "--drain-s",   "0",        NULL };
    bool soon = false;

    (void)state;
    for (int i = 0; i < TIMES && !soon; i++) {
        unlink(program_said);
        const pid_t pid = program_spawn(argv);
        port_of_it();
        const int64_t told_ms = dr_clock_ms();
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(program_code(pid), 4); /* DR_EXIT_NOT_DRAINED */
        soon = dr_clock_ms() - told_ms < SOON_MS;
    }
    assert_true(soon);
    assert_true(program_has_said("{\"time\":")); /* a service's log, which is no terminal */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_alive_and_not_ready),
        cmocka_unit_test(it_ends_soon),
        cmocka_unit_test(a_port_that_is_taken_is_known_first),
    };

    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("broker_away", tests, program_begin, program_end);
}
