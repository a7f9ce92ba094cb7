/* listen.h - the socket on which a server listens, from an address as a person writes it.
 *
 *     127.0.0.1:9464   [::1]:9464   localhost:9464   one address; of a name with several, an IPv4 address
 *     :9464            [::]:9464                     every address, both IPv4 and IPv6
 *
 * Port 0 means any free port.  Threads: any. */
#ifndef DR_WORKER_SERVICE_LISTEN_H
#define DR_WORKER_SERVICE_LISTEN_H

#include "base/error.h"

/* On success *fd is the caller's.  The socket listens, does not block, and is closed by exec.  DR_EINVAL:
 * `where` has none of the forms above.  DR_ENOTFOUND: the name is unknown.  Other errors are the system's. */
dr_status dr_listen(int *fd, const char *where, dr_error *err);

#endif
