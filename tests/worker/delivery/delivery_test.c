/* Consumer, books and publisher against the mock broker, which fails where a test wants it.  Every job has
 * exactly one committed result.  The mock neither isolates transactions nor keeps their offsets, so
 * tests/worker/transactions.h counts what is committed.  tests/kafka/ tests the same with a real broker.
 *     delivery_test [PATTERN]     only the tests whose names match */
#include "tests/worker/transactions.h"
#include "worker/delivery/consumer.h"
#include "worker/delivery/cut_note.h"
#include "worker/delivery/dead_letter.h"
#include "worker/delivery/publisher.h"
#include "worker/delivery/record.h"

#include <stdatomic.h>

enum { HELD_MAX = 256 };

/* A worker that draws nothing: it answers a message at once, or holds it until it may answer.  A message
 * that begins with "bad" becomes a dead letter. */
typedef struct fake_worker {
    dr_books *books;
    dr_consumer *consumer;
    dr_publisher *publisher;
    pthread_t thread;
    atomic_bool stop, hold;
    atomic_int taken;
    size_t picture_bytes;
    dr_metrics *metrics;
} fake_worker;

static dr_job *job_of(const rd_kafka_message_t *m)
{
    dr_job *job = dr_job_create();

    job->id = strndup(m->payload, m->len);
    job->model = strdup("none");
    job->prompt = strdup("");
    job->negative_prompt = strdup("");
    job->origin = dr_books_origin(m);
    return job;
}

static void answer(fake_worker *w, rd_kafka_message_t *m)
{
    dr_result *result;
    dr_error why;

    if (m->len >= 3 && memcmp(m->payload, "bad", 3) == 0) {
        dr_fail(&why, DR_EFORMAT, "not a job");
        dr_publisher_put_dead(w->publisher, m, &why);
        return;
    }
    result = dr_result_create(job_of(m));
    result->pictures = 1;
    result->picture[0].bytes = calloc(1, w->picture_bytes);
    result->picture[0].size = w->picture_bytes;
    rd_kafka_message_destroy(m);
    dr_publisher_put(w->publisher, result);
}

static void *fake_thread(void *arg)
{
    rd_kafka_message_t *held[HELD_MAX];
    fake_worker *w = arg;
    size_t count = 0;

    while (!w->stop) {
        if (count < HELD_MAX && (held[count] = dr_books_next(w->books, 100))) {
            w->taken++;
            count++;
        }
        while (count > 0 && !w->hold)
            answer(w, held[--count]);
    }
    while (count > 0)
        answer(w, held[--count]);
    return NULL;
}

static void fake_start(fake_worker *w, broker *b, const char *slot, dr_delivery delivery)
{
    const char *group = delivery == DR_EXACTLY_ONCE ? "workers" : "plain";
    dr_publisher_options publisher = {
        .outbox = { b->options, delivery, slot, group },
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .worker = slot,
        .metrics = dr_metrics_create(),
    };
    dr_error err;

    *w = (fake_worker){ .picture_bytes = 1000, .metrics = publisher.metrics };
    if (dr_books_open(&w->books, "jobs", group, &err) ||
        dr_consumer_open(&w->consumer, &(dr_consumer_options){ b->options, slot, w->books }, &err))
        fail_msg("%s", err.text);
    publisher.books = w->books;
    if (dr_publisher_start(&w->publisher, &publisher, &err))
        fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&w->thread, NULL, fake_thread, w), 0);
}

static void fake_stop(fake_worker *w)
{
    w->stop = true;
    pthread_join(w->thread, NULL);
    dr_books_stop(w->books);
    assert_true(dr_publisher_drain(w->publisher, 30000));
    dr_publisher_stop(w->publisher);
    dr_consumer_close(w->consumer);
    dr_books_close(w->books);
    dr_metrics_free(w->metrics);
}

static void put_jobs(broker *b, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char id[32];
        snprintf(id, sizeof(id), "%s-%d", prefix, i);
        broker_put(b, i % PARTITIONS, id, id, strlen(id), NULL);
    }
}

static void wait_taken(fake_worker *w, int count)
{
    const int64_t until_ms = dr_clock_ms() + 40000;

    while (w->taken < count && dr_clock_ms() < until_ms)
        sleep_ms(20);
    assert_true(w->taken >= count);
}

static int wait_committed(const char *key)
{
    const int64_t until_ms = dr_clock_ms() + 40000;

    while (transactions_count(key) == 0 && dr_clock_ms() < until_ms)
        sleep_ms(20);
    return transactions_count(key);
}

static void assert_none_doubled(void)
{
    const char *key = transactions_doubled();

    if (key)
        fail_msg("%s has %d committed results", key, transactions_count(key));
}

/* Each of the jobs has one committed result, however many transactions were aborted before. */
static void assert_results(broker *b, const char *prefix, int count)
{
    read_log log;
    char id[32];

    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "%s-%d", prefix, i);
        if (wait_committed(id) == 0)
            fail_msg("%s has no result", id);
    }
    assert_none_doubled();
    log_read(&log, b, "results");
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "%s-%d", prefix, i);
        assert_true(log_find(&log, id, NULL) >= 1);
    }
    log_free(&log);
}

static broker shared;
static fake_worker worker;

static int start(void **state)
{
    (void)state;
    broker_open(&shared, 3);
    transactions_watch(&shared, "workers");
    fake_start(&worker, &shared, "slot-0", DR_EXACTLY_ONCE);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fake_stop(&worker);
    transactions_close();
    broker_close(&shared);
    return 0;
}

static void jobs_have_results(void **state)
{
    dr_consumer_state consumer;
    dr_books_state s;

    (void)state;
    put_jobs(&shared, "plain", 40);
    assert_results(&shared, "plain", 40);
    assert_true(dr_publisher_drain(worker.publisher, 20000));
    dr_books_state_get(worker.books, &s);
    dr_consumer_state_get(worker.consumer, &consumer);
    assert_true(s.leased && consumer.broker_up);
    assert_int_equal(s.partitions, PARTITIONS);
    assert_int_equal(s.running, 0);
    assert_int_equal(s.lag, 0);
}

static void headers_are_carried_and_dead_letters_tell(void **state)
{
    static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    static char long_state[DR_HEADER_BYTES_MAX + 1], too_long_id[DR_HEADER_BYTES_MAX + 2];
    const rd_kafka_message_t *m = NULL;
    read_log log;

    (void)state;
    memset(long_state, 's', sizeof(long_state) - 1);
    memset(too_long_id, 'i', sizeof(too_long_id) - 1);
    rd_kafka_header_add(headers, "kafka_correlationId", -1, "abc", -1);
    rd_kafka_header_add(headers, "traceparent", -1, trace, -1);
    rd_kafka_header_add(headers, "tracestate", -1, long_state, -1);
    rd_kafka_header_add(headers, "other", -1, "x", -1);
    broker_put(&shared, 0, "with-headers", "with-headers", 12, rd_kafka_headers_copy(headers));
    broker_put(&shared, 1, "the key", "bad\0bytes", 9, headers);
    headers = rd_kafka_headers_new(1);
    rd_kafka_header_add(headers, "kafka_correlationId", -1, too_long_id, -1);
    broker_put(&shared, 0, "too-long", "too-long", 8, headers);
    assert_int_equal(wait_committed("with-headers"), 1);
    assert_int_equal(wait_committed("too-long"), 1);
    assert_int_equal(wait_committed("the key"), 1);

    log_read(&log, &shared, "results");
    assert_true(log_find(&log, "with-headers", &m) >= 1);
    assert_header(m, "kafka_correlationId", "abc");
    assert_header(m, "traceparent", trace);
    assert_header(m, "tracestate", long_state);
    assert_header(m, "content-type", "application/x-protobuf");
    assert_true(log_find(&log, "too-long", &m) >= 1);
    assert_header(m, DR_CUT_HEADER, "header kafka_correlationId of 8193 bytes");
    log_free(&log);

    log_read(&log, &shared, "dead");
    assert_true(log_find(&log, "the key", &m) >= 1);
    assert_int_equal(m->len, 9);
    assert_memory_equal(m->payload, "bad\0bytes", 9);
    assert_header(m, "other", "x");
    assert_header(m, "kafka_dlt-original-topic", "jobs");
    assert_header(m, "kafka_dlt-original-partition", "1");
    assert_header(m, "kafka_dlt-original-consumer-group", "workers");
    assert_header(m, "kafka_dlt-exception-fqcn", "darkroom.malformed");
    assert_header(m, "kafka_dlt-exception-message", "not a job");
    log_free(&log);
}

/* One broker leads the results topic and nothing else.  So a request that fails there comes from the worker.
 * The jobs that are sent then make every client learn the new leaders. */
enum { PRODUCE = 0, RESULTS_BROKER = 2 };

static void lead_apart(const char *prefix)
{
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_mock_partition_set_leader(shared.cluster, "jobs", i, 1);
    rd_kafka_mock_partition_set_leader(shared.cluster, "results", 0, RESULTS_BROKER);
    put_jobs(&shared, prefix, PARTITIONS);
    assert_results(&shared, prefix, PARTITIONS);
}

static void fail_next_result(rd_kafka_resp_err_t code)
{
    rd_kafka_mock_broker_push_request_error_rtts(shared.cluster, RESULTS_BROKER, PRODUCE, 1, code, 0);
}

/* The broker answers one request of a commit with an error, while jobs are done: each kind of request and
 * each code in turn. */
static void errors_of_the_broker_are_survived(void **state)
{
    static const struct {
        int16_t request;
        const char *what;
        rd_kafka_resp_err_t code;
    } rows[] = {
        { PRODUCE, "Produce", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION },
        { PRODUCE, "Produce", RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS },
        { 24, "AddPartitionsToTxn", RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS },
        { 24, "AddPartitionsToTxn", RD_KAFKA_RESP_ERR_NOT_COORDINATOR },
        { 25, "AddOffsetsToTxn", RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS },
        { 28, "TxnOffsetCommit", RD_KAFKA_RESP_ERR_NOT_COORDINATOR },
        { 28, "TxnOffsetCommit", RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION },
        { 28, "TxnOffsetCommit", RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID },
        { 26, "EndTxn", RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE },
        { 1, "Fetch", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION },
    };

    (void)state;
    lead_apart("errors-apart");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char prefix[32];
        print_message("    %s: %s\n", rows[i].what, rd_kafka_err2name(rows[i].code));
        snprintf(prefix, sizeof(prefix), "error%zu", i);
        if (rows[i].request == PRODUCE)
            fail_next_result(rows[i].code);
        else
            rd_kafka_mock_push_request_errors(shared.cluster, rows[i].request, 1, rows[i].code);
        put_jobs(&shared, prefix, 4);
        assert_results(&shared, prefix, 4);
    }
}

/* The time of the transaction ran out, or another producer has its id.  That is fatal for the producer,
 * which is replaced. */
static void a_fenced_producer_is_replaced(void **state)
{
    dr_error err;

    (void)state;
    rd_kafka_mock_push_request_errors(shared.cluster, 26, 1, RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
    put_jobs(&shared, "fenced", 4);
    assert_results(&shared, "fenced", 4);
    assert_int_equal(dr_publisher_fatal(worker.publisher, &err), DR_OK);
}

/* The broker has committed, but its answer is lost.  The group's offsets show that it has, and nothing is
 * sent again. */
static void a_commit_whose_answer_is_lost_is_not_made_again(void **state)
{
    const int64_t until_ms = dr_clock_ms() + 40000;
    bool waits = true;

    (void)state;
    pthread_mutex_lock(&transactions.lock);
    transactions.lose_answer = true;
    pthread_mutex_unlock(&transactions.lock);
    put_jobs(&shared, "unanswered", 4);
    assert_results(&shared, "unanswered", 4);
    while (waits && dr_clock_ms() < until_ms) {
        pthread_mutex_lock(&transactions.lock);
        waits = transactions.lose_answer;
        pthread_mutex_unlock(&transactions.lock);
        sleep_ms(20);
    }
    assert_false(waits);
    assert_true(
        dr_publisher_drain(worker.publisher, 20000)); /* everything that may be sent again has been sent */
    put_jobs(&shared, "answered", 4);
    assert_results(&shared, "answered", 4);
}

static void leaders_move_and_brokers_go(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "move%d", i);
        rd_kafka_mock_partition_set_leader(shared.cluster, "jobs", i % PARTITIONS, 1 + i % 3);
        rd_kafka_mock_partition_set_leader(shared.cluster, "results", 0, 1 + (i + 1) % 3);
        if (i == 3)
            rd_kafka_mock_coordinator_set(shared.cluster, "transaction", "darkroom-workers-slot-0", 2);
        put_jobs(&shared, prefix, 4);
    }
    for (int i = 0; i < 6; i++) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "move%d", i);
        assert_results(&shared, prefix, 4);
    }
}

static void a_broker_that_is_away_is_waited_for(void **state)
{
    const int64_t until_ms = dr_clock_ms() + 20000;
    dr_consumer_state s;

    (void)state;
    put_jobs(&shared, "away", 4);
    for (int32_t n = 1; n <= 3; n++)
        rd_kafka_mock_broker_set_down(shared.cluster, n);
    do {
        sleep_ms(100);
        dr_consumer_state_get(worker.consumer, &s);
    } while (s.broker_up && dr_clock_ms() < until_ms);
    assert_false(s.broker_up);
    for (int32_t n = 1; n <= 3; n++)
        rd_kafka_mock_broker_set_up(shared.cluster, n);
    assert_results(&shared, "away", 4);
}

static void too_large_a_result_says_so(void **state)
{
    const rd_kafka_message_t *m = NULL;
    dr_result *result;
    dr_error err;
    read_log log;

    (void)state;
    lead_apart("large-apart");
    fail_next_result(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    broker_put(&shared, 0, "large", "large", 5, NULL);
    assert_int_equal(wait_committed("large"), 1);
    log_read(&log, &shared, "results");
    assert_true(log_find(&log, "large", &m) >= 1);
    assert_int_equal(dr_result_decode(&result, m->payload, m->len, &err), DR_OK);
    assert_string_equal(dr_result_state_name(result), "failed");
    assert_non_null(strstr(result->error.text, "max.message.bytes"));
    assert_false(result->error.retriable);
    dr_result_free(result);
    log_free(&log);
}

/* First headers are cut, then the key, then the value.  A header says what was cut. */
static void a_dead_letter_fits_its_topic(void **state)
{
    static const size_t limits[] = { SIZE_MAX, 4000, 1500, 900, 600 };
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2), *made;
    const rd_kafka_message_t *m = NULL;
    char key[401], value[2000] = "bad", carried[500] = { 0 };
    size_t before = SIZE_MAX, size;
    dr_record record;
    dr_error why;
    read_log log;

    (void)state;
    dr_fail(&why, DR_EFORMAT, "not a job");
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    rd_kafka_header_add(headers, "carried", -1, carried, sizeof(carried));
    broker_put(&shared, 0, key, value, sizeof(value), headers);
    log_read(&log, &shared, "jobs");
    assert_int_equal(log_find(&log, key, &m), 1);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        dr_dead_letter_make(&record, m, "jobs", "workers", &why, limits[i]);
        made = (rd_kafka_headers_t *)record.headers;
        size = dr_record_batch_bytes(&record);
        assert_true(size <= limits[i] && size < before);
        assert_int_equal(kafka_header(made, DR_CUT_HEADER, &size) != NULL, i > 1);
        before = dr_record_batch_bytes(&record) + (i == 0); /* the second limit is none either */
        rd_kafka_headers_destroy(made);
    }
    log_free(&log);
    assert_int_equal(wait_committed(key), 1);
}

/* The broker refuses the letter until there is nothing left to cut.  Then its offset is committed, and it is
 * counted. */
static void a_letter_that_nobody_takes_is_counted(void **state)
{
    const int64_t until_ms = dr_clock_ms() + 40000;
    char *text = NULL;
    bool counted;

    (void)state;
    rd_kafka_mock_partition_set_leader(shared.cluster, "dead", 0, RESULTS_BROKER);
    for (int i = 0; i < 24; i++)
        fail_next_result(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    broker_put(&shared, 0, "nobody's", "bad", 3, NULL);
    do {
        sleep_ms(100);
        free(text);
        text = dr_metrics_text(worker.metrics);
        counted = strstr(text, "\ndarkroom_unanswered_total 1\n") != NULL;
    } while (!counted && dr_clock_ms() < until_ms);
    free(text);
    assert_true(counted);
    assert_int_equal(transactions_count("nobody's"), 0);
    rd_kafka_mock_clear_request_errors(shared.cluster, PRODUCE);
}

/* A second member comes and goes.  Both do jobs; no job is lost, and none is committed twice.  The first
 * member drops the jobs of a partition that has gone to the second, which has done them meanwhile. */
static void a_rebalance_loses_and_doubles_nothing(void **state)
{
    static fake_worker second; /* static, since its thread outlives a test that fails */
    int before, during = 0;
    char prefix[32];

    (void)state;
    put_jobs(&shared, "before", 10);
    assert_results(&shared, "before", 10); /* it has all partitions */
    before = worker.taken;
    worker.hold = true;
    put_jobs(&shared, "held", PARTITIONS);
    wait_taken(&worker, before + PARTITIONS);
    fake_start(&second, &shared, "slot-1", DR_EXACTLY_ONCE);
    while (during < 60 && second.taken == 0) {
        snprintf(prefix, sizeof(prefix), "during%d", during++);
        put_jobs(&shared, prefix, 4);
        sleep_ms(500);
    }
    assert_true(second.taken > 0);
    assert_true(dr_publisher_drain(second.publisher, 20000));
    worker.hold = false;
    assert_results(&shared, "held", PARTITIONS);
    for (int i = 0; i < during; i++) {
        snprintf(prefix, sizeof(prefix), "during%d", i);
        assert_results(&shared, prefix, 4);
    }
    fake_stop(&second);
    put_jobs(&shared, "after",
             4); /* the first member has all partitions again once the session of the second has ended */
    assert_results(&shared, "after", 4);
}

static void at_least_once_commits_through_the_consumer(void **state)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
    rd_kafka_conf_t *conf;
    rd_kafka_t *reader;
    fake_worker w;
    read_log log;
    dr_error err;
    broker b;

    (void)state;
    broker_open(&b, 1);
    put_jobs(&b, "least", 10);
    fake_start(&w, &b, "slot-0", DR_AT_LEAST_ONCE);
    wait_taken(&w, 10);
    fake_stop(&w);
    log_read(&log, &b, "results"); /* without transactions every record counts */
    for (int i = 0; i < 10; i++) {
        char id[32];
        snprintf(id, sizeof(id), "least-%d", i);
        assert_int_equal(log_find(&log, id, NULL), 1);
    }
    log_free(&log);

    assert_int_equal(dr_kafka_conf(&conf, DR_KAFKA_READER, &b.options, &err), DR_OK);
    assert_int_equal(dr_kafka_conf_set(conf, "group.id", "plain", &err), DR_OK);
    assert_int_equal(dr_kafka_create(&reader, RD_KAFKA_CONSUMER, conf, &err), DR_OK);
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(list, "jobs", i);
    assert_int_equal(rd_kafka_committed(reader, list, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < PARTITIONS; i++)
        assert_int_equal(list->elems[i].offset, 5);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(reader);
    broker_close(&b);
}

/* Must run after all other tests, so that it sees late commits too. */
static void nothing_was_committed_twice(void **state)
{
    (void)state;
    assert_true(dr_publisher_drain(worker.publisher, 20000));
    assert_none_doubled();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_have_results),
        cmocka_unit_test(headers_are_carried_and_dead_letters_tell),
        cmocka_unit_test(errors_of_the_broker_are_survived),
        cmocka_unit_test(a_fenced_producer_is_replaced),
        cmocka_unit_test(a_commit_whose_answer_is_lost_is_not_made_again),
        cmocka_unit_test(leaders_move_and_brokers_go),
        cmocka_unit_test(a_broker_that_is_away_is_waited_for),
        cmocka_unit_test(a_rebalance_loses_and_doubles_nothing),
        cmocka_unit_test(too_large_a_result_says_so), /* what it learns makes the next ones fail, too */
        cmocka_unit_test(a_dead_letter_fits_its_topic),
        cmocka_unit_test(a_letter_that_nobody_takes_is_counted),
        cmocka_unit_test(at_least_once_commits_through_the_consumer),
        cmocka_unit_test(nothing_was_committed_twice),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start, stop);
}
