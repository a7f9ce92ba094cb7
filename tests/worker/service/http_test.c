/* The server for probes and metrics: where it listens, and that nobody keeps others from being answered. */
#include "base/limits.h"
#include "worker/program/setup.h"
#include "worker/service/http.h"
#include "worker/service/listen.h"
#include "worker/support/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWER_MAX = 4096, PATIENCE_MS = 60000, LARGE = 32 << 20 };

static dr_http *http;

/* The server's clock goes ahead of the real one by so much: the linker sends its calls here (--wrap, see
 * the Makefile). */
int64_t __real_dr_clock_ms(void);
int64_t __wrap_dr_clock_ms(void);
static atomic_int ahead_ms;

int64_t __wrap_dr_clock_ms(void)
{
    return __real_dr_clock_ms() + ahead_ms;
}

static dr_http_answer on_http(void *arg, const char *path)
{
    (void)arg;
    if (strcmp(path, "/readyz") == 0)
        return (dr_http_answer){ 200, "text/plain", strdup("ok\n") };
    if (strcmp(path, "/large") == 0) {
        char *body = malloc(LARGE + 1);
        assert_non_null(body);
        memset(body, 'x', LARGE);
        body[LARGE] = 0;
        return (dr_http_answer){ 200, "text/plain", body };
    }
    return (dr_http_answer){ 0 };
}

static int start(void **state)
{
    dr_error err;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return dr_http_open(&http, "127.0.0.1:0", &err) || dr_http_serve(http, on_http, NULL, &err) ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    dr_http_stop(http);
    return 0;
}

/* --- a client ------------------------------------------------------------------------------------ */

/* from: NULL, or another of the loopback's addresses. */
static int open_from(const char *from)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(dr_http_port(http)) }, at = to;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    at.sin_port = 0;
    if (from) {
        assert_int_equal(inet_pton(AF_INET, from, &at.sin_addr), 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    }
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* All that comes until the other side closes. */
static void hear(int fd, char answer[ANSWER_MAX])
{
    size_t used = 0;
    ssize_t n = 1;

    while (n > 0 && used + 1 < ANSWER_MAX) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        n = recv(fd, answer + used, ANSWER_MAX - 1 - used, 0);
        used += n > 0 ? (size_t)n : 0;
    }
    answer[used] = 0;
}

static void assert_probe_is_answered(const char *from)
{
    const int fd = open_from(from);
    char answer[ANSWER_MAX];

    say(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(fd, answer);
    close(fd);
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !strstr(answer, "\r\n\r\nok\n"))
        fail_msg("the probe's answer: \"%s\"", answer);
}

/* False: the other side has closed it. */
static bool is_open(int fd)
{
    char byte;
    const ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

/* --- who is served ------------------------------------------------------------------------------- */

/* More than the server can have open: from one address, then from many.  The probes did not wait for those
 * to be cut for their age: one of the last, not so late that it waited for a place, is still there. */
static void slow_clients_hide_nothing(void **state)
{
    enum { SLOW = 2 * DR_HTTP_CONNECTIONS_MAX + 8, LATE = SLOW - 11 };
    int fd[SLOW];
    (void)state;

    for (int many = 0; many < 2; many++) {
        for (int i = 0; i < SLOW; i++) {
            char from[32];
            snprintf(from, sizeof(from), "127.0.%d.%d", 1 + i / 200, 1 + i % 200);
            fd[i] = open_from(many ? from : NULL);
            say(fd[i], "GET /rea"); /* and no more */
        }
        for (int i = 0; i < 3; i++) {
            assert_probe_is_answered(NULL);
            assert_probe_is_answered("127.0.9.9");
        }
        assert_true(is_open(fd[LATE]));
        for (int i = 0; i < SLOW; i++)
            close(fd[i]);
    }
}

/* The many connections of one address cost no other address its place. */
static void an_address_pushes_out_its_own(void **state)
{
    enum { CROWD = 2 * DR_HTTP_CONNECTIONS_MAX };
    int crowd[CROWD], open_ones = 0;
    (void)state;

    const int other = open_from("127.0.5.5");
    say(other, "GET /readyz HTTP/1.1\r\n");
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = open_from("127.0.6.6");
        say(crowd[i], "GET /rea");
    }
    assert_probe_is_answered(NULL); /* all of the crowd was seen: it came before */
    char answer[ANSWER_MAX];
    say(other, "Host: x\r\n\r\n");
    hear(other, answer);
    assert_non_null(strstr(answer, "\r\n\r\nok\n"));
    close(other);
    for (int i = 0; i < CROWD; i++) {
        open_ones += is_open(crowd[i]);
        close(crowd[i]);
    }
    assert_true(open_ones <= DR_HTTP_PER_ADDRESS_MAX);
}

/* A client that is never idle and never done. */
static void a_request_has_a_deadline(void **state)
{
    const int64_t until_ms = __real_dr_clock_ms() + PATIENCE_MS;
    const int fd = open_from(NULL);
    (void)state;

    say(fd, "GET /readyz HTTP/1.1\r\nX: ");
    assert_probe_is_answered(NULL); /* the one before was seen: it came before */
    assert_true(is_open(fd));
    ahead_ms += DR_HTTP_REQUEST_MS;
    while (is_open(fd) && __real_dr_clock_ms() < until_ms) {
        send(fd, "x", 1, MSG_NOSIGNAL);
        usleep(10000);
    }
    assert_false(is_open(fd));
    close(fd);
}

/* A client that asks for more than a socket holds, and does not read it. */
static void an_answer_has_a_deadline(void **state)
{
    const int64_t until_ms = __real_dr_clock_ms() + PATIENCE_MS;
    const int fd = open_from(NULL);
    struct pollfd p = { .fd = fd, .events = POLLRDHUP }; /* and POLLERR, which is always asked for */
    int closed = 0;
    (void)state;

    say(fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_probe_is_answered(NULL);
    assert_int_equal(poll(&p, 1, 0), 0);
    ahead_ms += DR_HTTP_REQUEST_MS;
    while (closed == 0 && __real_dr_clock_ms() < until_ms)
        closed = poll(&p, 1, 1000);
    assert_int_equal(closed, 1);
    close(fd);
}

static void a_connection_carries_one_request(void **state)
{
    const int fd = open_from(NULL);
    char answer[ANSWER_MAX];
    (void)state;

    say(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(fd, answer); /* ends, though nobody here has closed it */
    assert_non_null(strstr(answer, "Connection: close"));
    close(fd);
}

/* --- where it listens ------------------------------------------------------------------------------ */

static bool is_reached_by(int listening, int family)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_storage at;
    socklen_t size = sizeof(at);

    assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &size), 0);
    v4.sin_port = v6.sin6_port = at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                          : ((struct sockaddr_in *)&at)->sin_port;
    const int fd = socket(family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    const int rc = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                                     : connect(fd, (struct sockaddr *)&v6, sizeof(v6));
    close(fd);
    return rc == 0;
}

static bool has_ipv6(void)
{
    const struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    const bool yes = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;

    if (fd >= 0)
        close(fd);
    return yes;
}

static void addresses_are_as_people_write_them(void **state)
{
    static const struct {
        const char *where;
        dr_status status;
        bool ipv4, ipv6; /* reached by way of the loopback */
    } cases[] = {
        { "127.0.0.1:0", DR_OK, true, false },
        { "localhost:0", DR_OK, true, false },
        { "0.0.0.0:0", DR_OK, true, false },
        { "[::1]:0", DR_OK, false, true },
        { "[::]:0", DR_OK, true, true },
        { ":0", DR_OK, true, true },
        { "", DR_EINVAL, false, false },
        { "9464", DR_EINVAL, false, false },
        { "127.0.0.1", DR_EINVAL, false, false },
        { "127.0.0.1:", DR_EINVAL, false, false },
        { "127.0.0.1:65536", DR_EINVAL, false, false },
        { "127.0.0.1:-1", DR_EINVAL, false, false },
        { "127.0.0.1: 1", DR_EINVAL, false, false },
        { "127.0.0.1:80x", DR_EINVAL, false, false },
        { "::1:9464", DR_EINVAL, false, false },
        { "[::1]", DR_EINVAL, false, false },
        { "[::1:9464", DR_EINVAL, false, false },
        { "192.0.2.1:0", DR_EIO, false, false }, /* not ours: kept for documentation */
        { "999.0.0.1:0", DR_ENOTFOUND, false, false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd;
        dr_error err;
        if (!has_ipv6() && cases[i].ipv6) {
            print_message("no IPv6 here: \"%s\" was not tried\n", cases[i].where);
            continue;
        }
        const dr_status rc = dr_listen(&fd, cases[i].where, &err);

        if (rc != cases[i].status)
            fail_msg("\"%s\": %s, not %s", cases[i].where, dr_status_name(rc),
                     dr_status_name(cases[i].status));
        if (rc) {
            assert_int_equal(fd, -1);
            assert_non_null(strstr(err.text, cases[i].where));
            continue;
        }
        if (is_reached_by(fd, AF_INET) != cases[i].ipv4 || is_reached_by(fd, AF_INET6) != cases[i].ipv6)
            fail_msg("\"%s\" is not reached by what it should be", cases[i].where);
        close(fd);
    }
}

static void a_port_that_is_taken_is_named(void **state)
{
    char where[64];
    dr_http *second;
    dr_error err;
    (void)state;

    snprintf(where, sizeof(where), "127.0.0.1:%u", dr_http_port(http));
    assert_int_equal(dr_http_open(&second, where, &err), DR_EIO);
    assert_null(second);
    assert_non_null(strstr(err.text, where));
    assert_non_null(strstr(err.text, "in use"));
}

static void who_comes_before_it_serves_is_answered(void **state)
{
    char answer[ANSWER_MAX];
    dr_error err;
    (void)state;

    dr_http_stop(http);
    assert_int_equal(dr_http_open(&http, "127.0.0.1:0", &err), DR_OK);
    const int fd = open_from(NULL);
    say(fd, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(dr_http_serve(http, on_http, NULL, &err), DR_OK);
    hear(fd, answer);
    assert_non_null(strstr(answer, "200 OK"));
    close(fd);
}

static void one_that_never_serves_gives_its_port_back(void **state)
{
    char where[64];
    dr_error err;
    (void)state;

    dr_http_stop(http);
    assert_int_equal(dr_http_open(&http, "127.0.0.1:0", &err), DR_OK);
    snprintf(where, sizeof(where), "127.0.0.1:%u", dr_http_port(http));
    dr_http_stop(http);
    assert_int_equal(dr_http_open(&http, where, &err), DR_OK);
}

static void in_a_pod_the_kubelet_reaches_it(void **state)
{
    (void)state;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_string_equal(dr_setup_http("auto"), "127.0.0.1:9464");
    setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
    assert_string_equal(dr_setup_http("auto"), ":9464");
    assert_string_equal(dr_setup_http("127.0.0.1:80"), "127.0.0.1:80");
    assert_string_equal(dr_setup_http(""), "");
    unsetenv("KUBERNETES_SERVICE_HOST");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_clients_hide_nothing),
        cmocka_unit_test(an_address_pushes_out_its_own),
        cmocka_unit_test(a_request_has_a_deadline),
        cmocka_unit_test(an_answer_has_a_deadline),
        cmocka_unit_test(a_connection_carries_one_request),
        cmocka_unit_test(addresses_are_as_people_write_them),
        cmocka_unit_test(a_port_that_is_taken_is_named),
        cmocka_unit_test(in_a_pod_the_kubelet_reaches_it),
        cmocka_unit_test(who_comes_before_it_serves_is_answered),
        cmocka_unit_test(one_that_never_serves_gives_its_port_back),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("http", tests, start, stop);
}
