/* http.h - a small server for probes and metrics: it answers GET requests for a few paths from memory.
 *
 * One thread serves all connections, and the handler runs on it.  No client can keep others from being
 * served:
 *
 *     A connection carries one request.  It is closed DR_HTTP_REQUEST_MS after it was opened.
 *     A new connection is never refused.  If its address has DR_HTTP_PER_ADDRESS_MAX connections,
 *     the oldest of these is closed.  If there are DR_HTTP_CONNECTIONS_MAX in all, the address with
 *     the most connections loses its oldest.
 *
 * So a probe gets its answer at once, whatever the number of slow clients.  This is true even if they have
 * the probe's own address: everything from one kubelet, one proxy or one address translation has one
 * address. */
#ifndef DR_WORKER_SERVICE_HTTP_H
#define DR_WORKER_SERVICE_HTTP_H

#include "base/error.h"

#include <stdint.h>

typedef struct dr_http dr_http;

typedef struct dr_http_answer {
    unsigned status; /* 0: there is no such path */
    const char *type;
    char *body; /* malloc'ed; the server frees it; NULL: the body is empty */
} dr_http_answer;

typedef dr_http_answer (*dr_http_handler)(void *arg, const char *path);

/* Takes the port, and answers nobody yet: clients wait for dr_http_serve().  `where` has a form of
 * dr_listen().  On success *out is the caller's, who ends it with dr_http_stop().  On failure *out is NULL.
 * DR_EINVAL: `where` is no address. */
dr_status dr_http_open(dr_http **out, const char *where, dr_error *err);

/* Starts to answer.  May be called once for a server.  The handler and arg must last until dr_http_stop(). */
dr_status dr_http_serve(dr_http *h, dr_http_handler handler, void *arg, dr_error *err);

/* The port on which it listens; 0 if the system can't tell.  Any thread. */
uint16_t dr_http_port(const dr_http *h);

/* Ends the thread and all connections.  NULL is allowed. */
void dr_http_stop(dr_http *h);

#endif
