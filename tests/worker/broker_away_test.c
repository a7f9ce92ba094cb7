/* `darkroom worker` without a broker: it keeps trying, says so, is alive but not ready, and still ends when told to. */
#include "tests/worker/program.h"

#include <curl/curl.h>
#include <signal.h>

enum { BODY_MAX = 4096, START_TRIES = 1200 };

static size_t on_body(char *bytes, size_t one, size_t count, void *arg)
{
    char *body = arg;
    const size_t used = strlen(body);

    assert_true(used + one * count < BODY_MAX);
    memcpy(body + used, bytes, one * count);
    body[used + one * count] = '\0';
    return one * count;
}

/* The answer's status, 0 while nobody listens; *body what it says. */
static long get(int port, const char *path, char body[BODY_MAX])
{
    CURL *curl = curl_easy_init();
    char url[128];
    long status = 0;

    body[0] = '\0';
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

/* That it has found free, and says. */
static int port_of_it(void)
{
    static const char says[] = "metrics and probes on 127.0.0.1:0, port ";
    int port = 0;

    for (int i = 0; i < START_TRIES && port == 0; i++) {
        char *text = NULL;
        size_t size;

        usleep(50000);
        if (dr_file_read(program_said, 1 << 20, (void **)&text, &size, NULL))
            continue; /* it has not begun */
        const char *at = strstr(text, says);
        if (at && strchr(at, '\n'))
            port = atoi(at + strlen(says));
        free(text);
    }
    assert_true(port > 0);
    return port;
}

static void it_is_alive_and_not_ready(void **state)
{
    char body[BODY_MAX];
    char *argv[] = { program, "worker", "--brokers",   "127.0.0.1:1",  "--device", "null", "--worker",
                     "away",  "--http", "127.0.0.1:0", "--log-format", "text",     NULL };
    int port;
    pid_t pid;

    (void)state;
    pid = program_spawn(argv);
    port = port_of_it();
    assert_int_equal(get(port, "/healthz", body), 200);
    assert_int_equal(get(port, "/readyz", body), 503);
    assert_non_null(strstr(body, "no broker answers"));
    for (int i = 0; i < START_TRIES && !program_has_said("no broker can be reached"); i++)
        usleep(50000);
    assert_true(program_has_said("no broker can be reached"));
    assert_int_equal(get(port, "/readyz", body), 503); /* still trying */
    assert_int_equal(get(port, "/healthz", body), 200);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_code(pid), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(it_is_alive_and_not_ready) };

    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("broker_away", tests, program_begin, program_end);
}
