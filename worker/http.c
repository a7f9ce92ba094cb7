#include "worker/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_MAX = 16, /* a scraper, two probes, a person */
    IDLE_S = 10,
};

struct dr_http {
    struct MHD_Daemon *daemon;
    dr_http_handler handler;
    void *arg;
};

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

dr_status dr_http_start(dr_http **out, const char *address, uint16_t port, dr_http_handler handler, void *arg,
                        dr_error *err)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    dr_http *h;

    *out = NULL;
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
        return dr_fail(err, DR_EINVAL, "http: %s is not an IPv4 address", address);
    h = calloc(1, sizeof(*h));
    if (!h)
        return dr_fail(err, DR_ENOMEM, "http: no memory");
    h->handler = handler;
    h->arg = arg;
    h->daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, port, NULL, NULL, on_request,
                                 h, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                                 MHD_OPTION_END);
    if (!h->daemon) {
        free(h);
        return dr_fail_errno(err, DR_EIO, "http: can't listen on %s:%u", address, port);
    }
    *out = h;
    return DR_OK;
}

uint16_t dr_http_port(const dr_http *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);

    return info ? info->port : 0;
}

void dr_http_stop(dr_http *h)
{
    if (!h)
        return;
    MHD_stop_daemon(h->daemon);
    free(h);
}
