/* http.h - a small server for probes and metrics: GET of a few paths, answered from memory.
 *
 * One thread serves every connection, and the handler runs on it.  Nobody can keep others from being served:
 *
 *     a connection carries one request, and is closed DR_HTTP_REQUEST_MS after it was opened, whatever it does
 *     a new one is never refused: where its address has DR_HTTP_PER_ADDRESS_MAX, the oldest of those is closed; where
 *     all together have DR_HTTP_CONNECTIONS_MAX, the oldest of the address that has the most
 *
 * So a probe has its answer at once, beside any number of clients that are slow, also from its own address: what
 * comes from a kubelet, a proxy or a node's address translation has one address. */
#ifndef DR_WORKER_SERVICE_HTTP_H
#define DR_WORKER_SERVICE_HTTP_H

#include "base/error.h"

#include <stdint.h>

typedef struct dr_http dr_http;

typedef struct dr_http_answer {
    unsigned status; /* 0: no such path */
    const char *type;
    char *body; /* malloc'ed; the server frees it; NULL: empty */
} dr_http_answer;

typedef dr_http_answer (*dr_http_handler)(void *arg, const char *path);

/* Takes the port, and answers nobody yet: who connects waits for dr_http_serve().  where: as dr_listen() has it.  On success
 * *out is the caller's, who ends it with dr_http_stop().  On failure *out is NULL; DR_EINVAL: `where` is no address. */
dr_status dr_http_open(dr_http **out, const char *where, dr_error *err);

/* Answers from now on, once in the server's life.  The handler and arg have to last until dr_http_stop(). */
dr_status dr_http_serve(dr_http *h, dr_http_handler handler, void *arg, dr_error *err);

uint16_t dr_http_port(const dr_http *h);
void dr_http_stop(dr_http *h); /* NULL is allowed */

#endif
