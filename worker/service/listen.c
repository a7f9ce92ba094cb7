#include "worker/service/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_BYTES_MAX = 256, PORT_MAX = 65535 };

/* Parts "HOST:PORT" or "[HOST]:PORT".  *port points into `where`. */
static dr_status take_apart(const char *where, char host[HOST_BYTES_MAX], const char **port, dr_error *err)
{
    const char *colon = strrchr(where, ':'), *begin = where, *end = colon;
    char *rest = NULL;

    if (!colon)
        return dr_fail(err, DR_EINVAL, "http: \"%s\" is not ADDRESS:PORT", where);
    if (*begin == '[' && end > begin && end[-1] == ']') {
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) || memchr(begin, '[', (size_t)(end - begin))) {
        return dr_fail(err, DR_EINVAL, "http: \"%s\": an IPv6 address stands in brackets: [::1]:9464", where);
    }
    const long number = strtol(colon + 1, &rest, 10);
    if (rest == colon + 1 || *rest || colon[1] < '0' || colon[1] > '9' || number > PORT_MAX)
        return dr_fail(err, DR_EINVAL, "http: \"%s\": the port is 0..%d", where, PORT_MAX);
    if ((size_t)(end - begin) >= HOST_BYTES_MAX)
        return dr_fail(err, DR_EINVAL, "http: \"%s\": the address is too long", where);
    snprintf(host, HOST_BYTES_MAX, "%.*s", (int)(end - begin), begin);
    *port = colon + 1;
    return DR_OK;
}

static int listen_at(const struct addrinfo *at)
{
    const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1, no = 0;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (at->ai_family == AF_INET6) /* :: means IPv4 addresses, too, whatever the system's default is */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    const int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int listen_at_first(const struct addrinfo *list, int family)
{
    for (const struct addrinfo *at = list; at; at = at->ai_next)
        if (at->ai_family == family)
            return listen_at(at);
    errno = EAFNOSUPPORT;
    return -1;
}

dr_status dr_listen(int *fd, const char *where, dr_error *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *list = NULL;
    char host[HOST_BYTES_MAX] = "";
    const char *port = NULL;
    dr_status rc = take_apart(where, host, &port, err);

    *fd = -1;
    if (rc)
        return rc;
    const int code = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (code == EAI_MEMORY)
        return dr_fail(err, DR_ENOMEM, "http: %s: %s", where, gai_strerror(code));
    if (code == EAI_SYSTEM)
        return dr_fail_errno(err, DR_EIO, "http: %s", where);
    if (code)
        return dr_fail(err, DR_ENOTFOUND, "http: %s: %s", where, gai_strerror(code));
    /* For every address, :: is the wider choice.  For a name, IPv4 is what others expect. */
    *fd = listen_at_first(list, *host ? AF_INET : AF_INET6);
    if (*fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        *fd = listen_at_first(list, *host ? AF_INET6 : AF_INET);
    if (*fd < 0)
        rc = dr_fail_errno(err, DR_EIO, "http: can't listen on %s", where);
    freeaddrinfo(list);
    return rc;
}
