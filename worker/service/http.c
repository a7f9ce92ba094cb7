#include "worker/service/http.h"

#include "base/limits.h"
#include "worker/service/listen.h"
#include "worker/support/clock.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* libmicrohttpd keeps a closed connection for a moment longer. */
    PLACES = 2 * DR_HTTP_CONNECTIONS_MAX,
    LOOK_MS = 100,
};

typedef struct visit {
    bool open;
    bool cut; /* shut down by us; libmicrohttpd has not closed it yet */
    int fd;
    struct in6_addr from; /* an IPv4 address is mapped to an IPv6 address */
    uint64_t number;      /* in the order in which they came */
    int64_t since_ms;
} visit;

/* Only the server's thread uses it once it serves. */
struct dr_http {
    int fd;                    /* the socket that listens; once there is a daemon, the daemon closes it */
    struct MHD_Daemon *daemon; /* NULL: it answers nobody yet */
    dr_http_handler handler;
    void *arg;
    visit visit[PLACES];
    uint64_t visits;
    pthread_t thread;
    bool started;
    atomic_bool closing;
};

/* --- who may stay ------------------------------------------------------------------------------- */

/* Shuts the connection down.  libmicrohttpd sees that and closes it; the system forgets what was not sent. */
static void cut(visit *v)
{
    const struct linger forget = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &forget, sizeof(forget));
    shutdown(v->fd, SHUT_RDWR);
    v->cut = true;
}

static bool same_address(const visit *a, const visit *b)
{
    return memcmp(&a->from, &b->from, sizeof(a->from)) == 0;
}

static int count_of_address(const dr_http *h, const visit *one)
{
    int count = 0;

    for (int i = 0; i < PLACES; i++)
        count += h->visit[i].open && !h->visit[i].cut && same_address(&h->visit[i], one);
    return count;
}

static int count_all(const dr_http *h)
{
    int count = 0;

    for (int i = 0; i < PLACES; i++)
        count += h->visit[i].open && !h->visit[i].cut;
    return count;
}

static visit *oldest_of_address(dr_http *h, const visit *one)
{
    visit *oldest = NULL;

    for (int i = 0; i < PLACES; i++) {
        visit *v = &h->visit[i];
        if (v->open && !v->cut && same_address(v, one) && (!oldest || v->number < oldest->number))
            oldest = v;
    }
    return oldest;
}

static visit *oldest_of_the_busiest(dr_http *h)
{
    visit *busiest = NULL;
    int most = 0;

    for (int i = 0; i < PLACES; i++) {
        visit *v = &h->visit[i];
        const int count = v->open && !v->cut ? count_of_address(h, v) : 0;
        if (count > most || (busiest && count == most && v->number < busiest->number)) {
            busiest = v;
            most = count;
        }
    }
    return busiest ? oldest_of_address(h, busiest) : NULL;
}

/* Cuts off a connection if there would be too many with v, which is not counted yet. */
static void make_place(dr_http *h, const visit *v)
{
    visit *leaves = NULL;

    if (count_of_address(h, v) >= DR_HTTP_PER_ADDRESS_MAX)
        leaves = oldest_of_address(h, v);
    else if (count_all(h) >= DR_HTTP_CONNECTIONS_MAX)
        leaves = oldest_of_the_busiest(h);
    if (leaves)
        cut(leaves);
}

static void cut_overdue(dr_http *h)
{
    const int64_t since_ms = dr_clock_ms() - DR_HTTP_REQUEST_MS;

    for (int i = 0; i < PLACES; i++)
        if (h->visit[i].open && !h->visit[i].cut && h->visit[i].since_ms <= since_ms)
            cut(&h->visit[i]);
}

static struct in6_addr address_of(const struct sockaddr *at)
{
    struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

    if (at->sa_family == AF_INET6)
        return ((const struct sockaddr_in6 *)at)->sin6_addr;
    if (at->sa_family == AF_INET)
        memcpy(&mapped.s6_addr[12], &((const struct sockaddr_in *)at)->sin_addr, 4);
    return mapped;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    dr_http *h = arg;
    visit *v = *context;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (v)
            v->open = false;
        return;
    }
    visit coming = {
        .open = true,
        .fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
        .from =
            address_of(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr),
        .number = h->visits++,
        .since_ms = dr_clock_ms(),
    };
    make_place(h, &coming);
    for (v = h->visit; v < h->visit + PLACES && v->open; v++)
        ;
    dr_assert(v < h->visit + PLACES); /* libmicrohttpd's own limit */
    *v = coming;
    *context = v;
}

/* --- answers -------------------------------------------------------------------------------------- */

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const char *type, char *body)
{
    struct MHD_Response *response;
    enum MHD_Result sent;

    response = MHD_create_response_from_buffer(body ? strlen(body) : 0, body ? body : (char *)"",
                                               body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        free(body);
        return MHD_NO;
    }
    if (type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    /* Each connection carries one request, so the age of a connection is the age of its request. */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    const dr_http *h = arg;
    dr_http_answer answer;

    (void)version, (void)upload, (void)upload_size, (void)context;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, NULL, NULL);
    answer = h->handler(h->arg, path);
    return reply(connection, answer.status ? answer.status : MHD_HTTP_NOT_FOUND, answer.type, answer.body);
}

static void *serve(void *arg)
{
    dr_http *h = arg;

    while (!h->closing) {
        MHD_run_wait(h->daemon, LOOK_MS);
        cut_overdue(h);
    }
    return NULL;
}

/* --- start and stop --------------------------------------------------------------------------------- */

dr_status dr_http_open(dr_http **out, const char *where, dr_error *err)
{
    dr_http *h = calloc(1, sizeof(*h));
    dr_status rc;

    *out = NULL;
    if (!h)
        return dr_fail(err, DR_ENOMEM, "http: no memory");
    rc = dr_listen(&h->fd, where, err);
    if (rc) {
        free(h);
        return rc;
    }
    *out = h;
    return DR_OK;
}

dr_status dr_http_serve(dr_http *h, dr_http_handler handler, void *arg, dr_error *err)
{
    dr_assert(!h->daemon);
    h->handler = handler;
    h->arg = arg;
    /* The daemon takes fd, but only if it starts. */
    h->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->fd,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)PLACES, MHD_OPTION_NOTIFY_CONNECTION,
                                 on_connection, h, MHD_OPTION_END);
    if (!h->daemon)
        return dr_fail_errno(err, DR_EIO, "http: can't serve");
    if (pthread_create(&h->thread, NULL, serve, h))
        return dr_fail(err, DR_ENOMEM, "http: no thread");
    h->started = true;
    return DR_OK;
}

uint16_t dr_http_port(const dr_http *h)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } at;
    socklen_t size = sizeof(at);

    if (getsockname(h->fd, &at.any, &size))
        return 0;
    return ntohs(at.any.sa_family == AF_INET6 ? at.ipv6.sin6_port : at.ipv4.sin_port);
}

void dr_http_stop(dr_http *h)
{
    if (!h)
        return;
    h->closing = true;
    if (h->started)
        pthread_join(h->thread, NULL);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    else
        close(h->fd);
    free(h);
}
