/* The worker as a whole: it starts or says why it can't, and answers every message, whichever allocation
 * fails (tests/worker/torture.h). */
#include "tests/worker/torture.h"
#include "tests/worker/transactions.h"
#include "worker/pictures/picture.h"
#include "worker/service/service.h"

enum { PATIENCE_MS = 60000 };

static dr_service_options service_options(const broker *b)
{
    return (dr_service_options){
        .kafka = b->options,
        .group = "workers",
        .slot = "slot-0",
        .jobs_topic = "jobs",
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .events_topic = "events",
        .control_topic = "control",
        .pipeline = {
            .engine = { .device = { .name = "null" }, .batch_max = 4, .models_max = 1 },
            .shortage_ms = 1,
            .finish_threads = 1,
            .jobs_max = 8,
        },
    };
}

static dr_service *start_service(const broker *b)
{
    const dr_service_options options = service_options(b);
    dr_service *service;
    dr_error err;

    if (dr_service_start(&service, &options, &err))
        fail_msg("%s", err.text);
    return service;
}

static dr_status start_and_stop(void *context, dr_error *err)
{
    dr_service_options options = service_options(context);
    dr_service *service;
    const dr_status rc = dr_service_start(&service, &options, err);

    assert_int_equal(service == NULL, rc != DR_OK);
    if (service) {
        char *text = dr_service_metrics(service);
        assert_non_null(strstr(text, "\ndarkroom_ready "));
        free(text);
    }
    dr_service_stop(service);
    return rc;
}

static void a_worker_starts_or_says_so(void **state)
{
    broker b;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    assert_true(torture(start_and_stop, &b) > 25);
    broker_close(&b);
}

/* Puts a job that succeeds, a job that is refused, and a message that is no job.  Once they are sent, the
 * nth allocation fails. */
static void put_three(broker *b, int n, int nth, bool for_good)
{
    static const char *const lines[] = {
        "{\"id\":\"good-%d\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}",
        "{\"id\":\"unknown-%d\",\"model\":\"m\",\"reply_topic\":\"none\"}",
    };
    char id[32], text[128];
    message m[2];
    dr_job *job[2];

    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), lines[i], n);
        job[i] = job_of(text);
        assert_int_equal(dr_job_encode(job[i], &m[i].bytes, &m[i].size, NULL), DR_OK);
    }
    allocations_fail(nth, for_good);
    for (int i = 0; i < 2; i++) {
        broker_put(b, i, job[i]->id, m[i].bytes, m[i].size, NULL);
        free(m[i].bytes);
        dr_job_free(job[i]);
    }
    snprintf(id, sizeof(id), "garbage-%d", n);
    broker_put(b, 1, id, "\xff\xff\xff", 3, NULL);
}

static void wait_committed(const char *name, int n)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    char key[32];

    snprintf(key, sizeof(key), "%s-%d", name, n);
    while (transactions_count(key) == 0 && dr_clock_ms() < until_ms)
        sleep_ms(2);
    if (transactions_count(key) != 1)
        fail_msg("%s has %d answers", key, transactions_count(key));
}

static void wait_for_three(int n)
{
    wait_committed("good", n);
    wait_committed("unknown", n);
    wait_committed("garbage", n);
}

/* Every answer that is no success says that the sender may try again, except for the job that is refused for
 * good. */
static void assert_answers(broker *b, int count)
{
    const rd_kafka_message_t *m = NULL;
    dr_result *result;
    read_log log;
    dr_error err;
    char id[32];

    log_read(&log, b, "results");
    for (int n = 0; n < count; n++)
        for (int refused = 0; refused < 2; refused++) {
            snprintf(id, sizeof(id), "%s-%d", refused ? "unknown" : "good", n);
            assert_true(log_find(&log, id, &m) >= 1);
            assert_int_equal(dr_result_decode(&result, m->payload, m->len, &err), DR_OK);
            if (refused)
                assert_string_equal(result->refusal.field, "reply_topic");
            else if (result->error.status)
                assert_true(result->error.status == DR_ENOMEM && result->error.retriable);
            else
                assert_int_equal(result->pictures, 1);
            dr_result_free(result);
        }
    log_free(&log);
}

/* An allocation fails while three messages are answered, then the next one with the next three; and all that
 * follow, for a while. */
static void every_message_is_answered_whatever_fails(void **state)
{
    enum { FEW = 20, MANY = 400 };
    dr_service *service;
    broker b;
    int n = 0, failed;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    transactions_watch(&b, "workers");
    service = start_service(&b);
    put_three(&b, 0, 0, false);
    wait_for_three(0);
    do {
        n++;
        put_three(&b, n, n, n % 7 == 0);
        if (n % 7 == 0) {
            sleep_ms(150);
            allocations.for_good = false; /* there is memory again */
        }
        wait_for_three(n);
        failed = allocations_failed();
        allocations_fail(0, false);
    } while (n < MANY && (n < FEW || failed > 0));
    assert_true(n > FEW && n < MANY);
    assert_null(transactions_doubled());
    dr_service_close_intake(service);
    assert_true(dr_service_drain(service, PATIENCE_MS));
    dr_service_stop(service);
    assert_answers(&b, n);
    transactions_close();
    broker_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_starts_or_says_so),
        cmocka_unit_test(every_message_is_answered_whatever_fails),
    };
    dr_error err;
    int failed;

    torture_begin(argc, argv);
    if (dr_pictures_start(&err))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
