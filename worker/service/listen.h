/* listen.h - where a server is to listen, as a person writes it, and the socket that does.
 *
 *     127.0.0.1:9464   [::1]:9464   localhost:9464     one address; of a name with several, an IPv4 one
 *     :9464            [::]:9464                       every address, IPv4 and IPv6 alike
 *
 * Port 0: any free one.  Threads: any. */
#ifndef DR_WORKER_SERVICE_LISTEN_H
#define DR_WORKER_SERVICE_LISTEN_H

#include "base/error.h"

/* On success *fd is the caller's: it listens, does not block, and is closed by exec.  DR_EINVAL: `where` is not
 * one of the above; DR_ENOTFOUND: nobody knows the name; else what the system says. */
dr_status dr_listen(int *fd, const char *where, dr_error *err);

#endif
