/* http_get.h - a GET request to a server on this machine, for tests of probes and metrics. */
#ifndef DR_TESTS_SUPPORT_HTTP_GET_H
#define DR_TESTS_SUPPORT_HTTP_GET_H

#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { HTTP_BODY_MAX = 65536 };

static inline size_t http_keep_body(char *bytes, size_t one, size_t count, void *arg)
{
    char *body = arg;
    const size_t used = strlen(body);

    assert_true(used + one * count < HTTP_BODY_MAX);
    memcpy(body + used, bytes, one * count);
    body[used + one * count] = '\0';
    return one * count;
}

/* Returns the status of the answer, or 0 where nobody listens; body gets what the answer says.  post: the
 * body of a POST request in place of a GET request, or NULL. */
static inline long http_ask(int port, const char *path, const char *post, char body[HTTP_BODY_MAX])
{
    CURL *curl = curl_easy_init();
    char url[128];
    long status = 0;

    body[0] = '\0';
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, http_keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (post)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

static inline long http_get(int port, const char *path, char body[HTTP_BODY_MAX])
{
    return http_ask(port, path, NULL, body);
}

#endif
