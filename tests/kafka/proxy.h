/* proxy.h - a TCP proxy between workers and the broker, for tests.
 *
 * It can stop forwarding for a while and leave every connection open, like a network that loses its
 * packets.  The bytes that were sent meanwhile arrive late, even those of a client that has hung up.
 *
 * A process of its own, told by signals.  The broker has a listener that advertises the proxy's port
 * (tests/kafka/broker.sh), or clients would go round it. */
#ifndef DR_TESTS_KAFKA_PROXY_H
#define DR_TESTS_KAFKA_PROXY_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROXY_PAIRS_MAX = 128 };

static volatile sig_atomic_t proxy_holds;

static inline void proxy_signal(int number)
{
    proxy_holds = number == SIGUSR1;
}

static inline struct sockaddr_in proxy_address(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static inline int proxy_connect(int port)
{
    const struct sockaddr_in at = proxy_address(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Forwards the bytes that have come from one side to the other.  False: no more will come. */
static inline bool proxy_move(int from, int to)
{
    char bytes[65536];
    const ssize_t n = read(from, bytes, sizeof(bytes));

    for (ssize_t sent = 0; sent < n;) {
        const ssize_t m = write(to, bytes + sent, (size_t)(n - sent));
        if (m <= 0)
            return false;
        sent += m;
    }
    return n > 0;
}

typedef struct proxy_pair {
    int fd[2];    /* client, broker */
    bool open[2]; /* may still be read from */
} proxy_pair;

static inline void proxy_serve(int listener, int to)
{
    proxy_pair pair[PROXY_PAIRS_MAX];
    int count = 0;

    for (;;) {
        struct pollfd fds[1 + 2 * PROXY_PAIRS_MAX] = { { .fd = listener, .events = POLLIN } };
        for (int i = 0; i < count; i++)
            for (int s = 0; s < 2; s++)
                fds[1 + 2 * i + s] =
                    (struct pollfd){ .fd = pair[i].open[s] ? pair[i].fd[s] : -1, .events = POLLIN };
        if (proxy_holds) {
            poll(NULL, 0, 20);
            continue;
        }
        if (poll(fds, (nfds_t)(1 + 2 * count), 20) <= 0)
            continue;
        for (int i = 0; i < count; i++)
            for (int s = 0; s < 2; s++)
                if (fds[1 + 2 * i + s].revents && !proxy_move(pair[i].fd[s], pair[i].fd[!s])) {
                    pair[i].open[s] = false;
                    shutdown(pair[i].fd[!s], SHUT_WR); /* what was sent before is still read there */
                }
        for (int i = 0; i < count; i++)
            if (!pair[i].open[0] && !pair[i].open[1]) {
                close(pair[i].fd[0]);
                close(pair[i].fd[1]);
                pair[i--] = pair[--count];
            }
        if (fds[0].revents) {
            const int client = accept(listener, NULL, NULL), broker = proxy_connect(to);
            if (client >= 0 && broker >= 0 && count < PROXY_PAIRS_MAX) {
                pair[count++] = (proxy_pair){ { client, broker }, { true, true } };
            } else {
                close(client);
                close(broker);
            }
        }
    }
}

/* Listens on one port of this machine and forwards to another port.  Ends with the process that starts it. */
static inline pid_t proxy_start(int port, int to)
{
    const struct sockaddr_in at = proxy_address(port);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    pid_t pid;

    assert_true(listener >= 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 64), 0);
    signal(SIGUSR1, proxy_signal);
    signal(SIGUSR2, proxy_signal);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        proxy_serve(listener, to);
    }
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    close(listener);
    return pid;
}

static inline void proxy_hold(pid_t proxy, bool hold)
{
    kill(proxy, hold ? SIGUSR1 : SIGUSR2);
}

#endif
