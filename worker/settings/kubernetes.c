#include "worker/settings/kubernetes.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_MAX = 128, PORT_MAX = 65535 };

static bool is_address(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static bool is_port(const char *text)
{
    char *end;
    const long port = strtol(text, &end, 10);

    return *text >= '0' && *text <= '9' && !*end && port > 0 && port <= PORT_MAX;
}

static bool is_protocol(const char *text)
{
    return strcmp(text, "tcp") == 0 || strcmp(text, "udp") == 0 || strcmp(text, "sctp") == 0;
}

/* "tcp://10.0.0.7:9464", "tcp://[fd00::7]:9464" */
static bool is_url(const char *text)
{
    char copy[VALUE_MAX], *address, *port;
    size_t n;

    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
        return false;
    address = strstr(copy, "://");
    port = strrchr(copy, ':');
    if (!address || port <= address + 3)
        return false;
    *address = *port = '\0';
    address += 3;
    n = strlen(address);
    if (*address == '[' && address[n - 1] == ']') {
        address[n - 1] = '\0';
        address++;
    }
    return is_protocol(copy) && is_address(address) && is_port(port + 1);
}

bool dr_kubernetes_made(const char *variable)
{
    /* Names as the shell's patterns.  The first that fits decides. */
    static const struct form {
        const char *name;
        bool (*fits)(const char *value);
    } forms[] = {
        { "DARKROOM_SERVICE_HOST", is_address },
        { "DARKROOM_*_SERVICE_HOST", is_address },
        { "DARKROOM_SERVICE_PORT", is_port },
        { "DARKROOM_SERVICE_PORT_*", is_port },
        { "DARKROOM_*_SERVICE_PORT", is_port },
        { "DARKROOM_*_SERVICE_PORT_*", is_port },
        { "DARKROOM_*PORT_[0-9]*_PROTO", is_protocol },
        { "DARKROOM_*PORT_[0-9]*_ADDR", is_address },
        { "DARKROOM_*PORT_[0-9]*_TCP_PORT", is_port },
        { "DARKROOM_*PORT_[0-9]*_UDP_PORT", is_port },
        { "DARKROOM_*PORT_[0-9]*_SCTP_PORT", is_port },
        { "DARKROOM_*PORT_[0-9]*", is_url },
        { "DARKROOM_PORT", is_url },
        { "DARKROOM_*_PORT", is_url },
    };
    const char *value = strchr(variable, '=');
    char name[256];

    if (!value || (size_t)(value - variable) >= sizeof(name))
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)(value - variable), variable);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (fnmatch(forms[i].name, name, 0) == 0)
            return forms[i].fits(value + 1);
    return false;
}
