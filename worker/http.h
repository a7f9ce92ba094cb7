/* http.h - a small server for probes and metrics: GET of a few paths, answered from memory.
 *
 * One thread of libmicrohttpd's own serves every connection, and the handler runs on it. */
#ifndef DR_WORKER_HTTP_H
#define DR_WORKER_HTTP_H

#include "base/error.h"

#include <stdint.h>

typedef struct dr_http dr_http;

typedef struct dr_http_answer {
    unsigned status; /* 0: no such path */
    const char *type;
    char *body; /* malloc'ed; the server frees it; NULL: empty */
} dr_http_answer;

typedef dr_http_answer (*dr_http_handler)(void *arg, const char *path);

/* address: "127.0.0.1", "0.0.0.0", an IPv4 one; port 0: any free one. */
dr_status dr_http_start(dr_http **out, const char *address, uint16_t port, dr_http_handler handler, void *arg,
                        dr_error *err);
uint16_t dr_http_port(const dr_http *h);
void dr_http_stop(dr_http *h); /* NULL is allowed */

#endif
