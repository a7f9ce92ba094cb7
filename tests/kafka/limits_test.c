/* Records that a broker refuses, for their size or for their topic.  The other records go on, nothing is
 * sent in vain, and every message ends in an answer that says what is wrong, or in an error in the log. A
 * result of 64x64 pixels has about 4.4 kB, one of 256x256 42. */
#include "tests/kafka/real_broker.h"
#include "worker/delivery/cut_note.h"

enum { FOUND_MAX = 16 };

/* The messages of a topic: headers and sizes. */
typedef struct found {
    rd_kafka_headers_t *headers[FOUND_MAX];
    size_t key_bytes[FOUND_MAX], value_bytes[FOUND_MAX];
    int count;
} found;

static void keep(void *arg, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    found *f = arg;

    assert_true(f->count < FOUND_MAX);
    assert_int_equal(rd_kafka_message_headers(m, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    f->headers[f->count] = rd_kafka_headers_copy(headers);
    f->key_bytes[f->count] = m->key_len;
    f->value_bytes[f->count++] = m->len;
}

static void found_free(found *f)
{
    for (int i = 0; i < f->count; i++)
        rd_kafka_headers_destroy(f->headers[i]);
    *f = (found){ .count = 0 };
}

static const char *header(const found *f, int i, const char *name)
{
    size_t size;

    return kafka_header(f->headers[i], name, &size);
}

static void wait_found(const char *topic, int count, found *f)
{
    const int64_t until_ms = dr_clock_ms() + 40000;

    for (;;) {
        *f = (found){ .count = 0 };
        read_topic(topic, 1, false, keep, f);
        if (f->count >= count || dr_clock_ms() > until_ms)
            break;
        found_free(f);
        sleep_ms(200);
    }
    assert_int_equal(f->count, count);
}

/* No transaction was aborted: its records would be seen by a reader that reads uncommitted records too. */
static void assert_nothing_in_vain(arena *a)
{
    tally committed, all;

    count_results(a, &committed, false);
    count_results(a, &all, true);
    assert_int_equal(all.messages, committed.messages);
    dr_result_free(committed.last);
    dr_result_free(all.last);
}

static bool has_logged(const arena *a, const char *text)
{
    char command[256];

    snprintf(command, sizeof(command), "grep -q '%s' build/kafka/test-%s-0.log", text, a->name);
    return system(command) == 0;
}

/* How many lines of the worker's log have that text. */
static int times_logged(const arena *a, const char *text)
{
    char command[256];
    int lines = -1;
    FILE *counted;

    snprintf(command, sizeof(command), "grep -c '%s' build/kafka/test-%s-0.log", text, a->name);
    counted = popen(command, "r");
    assert_non_null(counted);
    assert_int_equal(fscanf(counted, "%d", &lines), 1);
    pclose(counted);
    return lines;
}

static void wait_committed(arena *a, int partition, int64_t wanted)
{
    const int64_t until_ms = dr_clock_ms() + 40000;
    char metadata[4096];
    int64_t offset;

    do {
        sleep_ms(200);
        committed(a, partition, &offset, metadata, sizeof(metadata));
    } while (offset < wanted && dr_clock_ms() < until_ms);
    assert_int_equal(offset, wanted);
}

/* Topics with limits of their own.  NULL: the broker's limit, or no topic of dead letters. */
static void open_limited(arena *a, const char *name, const char *results_bytes, const char *dead_setting,
                         const char *dead_value)
{
    *a = (arena){ .name = name };
    snprintf(a->jobs, sizeof(a->jobs), "%s.jobs", name);
    snprintf(a->results, sizeof(a->results), "%s.results", name);
    snprintf(a->dead, sizeof(a->dead), "%s.dead", name);
    a->producer = client(RD_KAFKA_PRODUCER, false);
    create_topic(a->producer, a->jobs, PARTITIONS, NULL, NULL);
    create_topic(a->producer, a->results, 2, results_bytes ? "max.message.bytes" : NULL, results_bytes);
    if (dead_setting)
        create_topic(a->producer, a->dead, 1, dead_setting, dead_value);
}

/* Sends a message that is no job, of so many bytes each.  0: without the large header. */
static void put_garbage(arena *a, size_t key, size_t header_bytes, size_t value)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    char *bytes = malloc(key + header_bytes + value + 1);

    memset(bytes, 0xff, key + header_bytes + value + 1);
    rd_kafka_header_add(headers, "small", -1, "stays", -1);
    if (header_bytes)
        rd_kafka_header_add(headers, "large", -1, bytes, (ssize_t)header_bytes);
    assert_int_equal(rd_kafka_producev(a->producer, RD_KAFKA_V_TOPIC(a->jobs), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(bytes, key), RD_KAFKA_V_VALUE(bytes, value),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
                                       RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    free(bytes);
    assert_int_equal(rd_kafka_flush(a->producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void a_letter_is_cut_to_what_its_topic_takes(void **state)
{
    enum { LIMIT = 2000, LARGE = 5000 };
    pid_t worker;
    found f;
    arena a;

    (void)state;
    open_limited(&a, "letters", NULL, "max.message.bytes", "2000");
    put_garbage(&a, 10, LARGE, 10);
    put_garbage(&a, LARGE, 0, 10);
    put_garbage(&a, 10, 0, LARGE);
    put_garbage(&a, 10, 1000, 100); /* 700 of them would do */
    put_job(&a, 0, 0, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 1, 40);
    wait_found(a.dead, 4, &f);
    assert_int_equal(end(worker), 0);

    assert_null(header(&f, 0, "large"));
    assert_string_equal(header(&f, 0, "small"), "stays");
    assert_string_equal(header(&f, 0, DR_CUT_HEADER), "header large of 5000 bytes");
    assert_int_equal(f.key_bytes[0], 10);
    assert_int_equal(f.value_bytes[0], 10);
    assert_non_null(header(&f, 0, "kafka_dlt-exception-message"));

    assert_in_range(f.key_bytes[1], 1000, LIMIT);
    assert_int_equal(f.value_bytes[1], 10);
    assert_non_null(strstr(header(&f, 1, DR_CUT_HEADER), "of 5000 bytes"));

    assert_int_equal(f.key_bytes[2], 0);
    assert_in_range(f.value_bytes[2], 1000, LIMIT);
    assert_non_null(strstr(header(&f, 2, DR_CUT_HEADER), "key to 0 of 10 bytes, value to "));

    assert_non_null(header(&f, 3, "large"));
    assert_null(header(&f, 3, DR_CUT_HEADER));
    found_free(&f);
    arena_close(&a);
}

/* The limit is the broker's.  A message that just fits the topic of jobs does not fit the topic of dead
 * letters with our headers. */
static void a_letter_near_the_brokers_limit_stops_nobody(void **state)
{
    enum { NEAR = 1048400 };
    pid_t worker;
    found f;
    arena a;

    (void)state;
    open_limited(&a, "near", NULL, "cleanup.policy", "delete");
    put_garbage(&a, NEAR, 0, 1);
    put_garbage(&a, 1, NEAR, 1);
    put_job(&a, 0, 0, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 1, 40);
    wait_found(a.dead, 2, &f);
    assert_int_equal(end(worker), 0);
    assert_non_null(header(&f, 0, DR_CUT_HEADER));
    assert_non_null(header(&f, 1, DR_CUT_HEADER));
    found_free(&f);
    arena_close(&a);
}

/* No letter is small enough; or the topic is compacted, and the message has no key. */
static void what_can_be_no_letter_is_an_error_and_is_finished(void **state)
{
    static const char *const settings[][2] = { { "max.message.bytes", "100" },
                                               { "cleanup.policy", "compact" } };
    static const char *const names[] = { "tiny", "compact" };
    pid_t worker;
    arena a;

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_limited(&a, names[i], NULL, settings[i][0], settings[i][1]);
        assert_int_equal(rd_kafka_producev(a.producer, RD_KAFKA_V_TOPIC(a.jobs), RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_VALUE((void *)"garbage", 7),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
        put_job(&a, 0, 0, 4);
        assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
        worker = start_worker(&a, 0, NULL);
        wait_results(&a, 1, 40);
        wait_committed(&a, 0, 2);
        assert_int_equal(end(worker), 0);
        assert_true(has_logged(&a, "committed without an answer"));
        assert_false(has_logged(&a, "Purged"));
        arena_close(&a);
    }
}

/* With a limit of a few hundred bytes the result says only its error; with a smaller limit there is no
 * result. */
static void a_result_becomes_smaller_until_it_fits(void **state)
{
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    open_limited(&a, "brief", "320", "cleanup.policy", "delete");
    put_jobs(&a, 0, 4);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 4, 40);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    assert_int_equal(t.failed, 4);
    assert_non_null(strstr(t.last->error.text, "max.message.bytes"));
    assert_null(t.last->job->model);
    dr_result_free(t.last);
    arena_close(&a);

    open_limited(&a, "none", "100", "cleanup.policy", "delete");
    put_jobs(&a, 0, 4);
    worker = start_worker(&a, 0, NULL);
    for (int i = 0; i < PARTITIONS; i++)
        wait_committed(&a, i, 1);
    assert_int_equal(end(worker), 0);
    assert_true(has_logged(&a, "committed without an answer"));
    arena_close(&a);
}

static void one_large_result_keeps_nobody_waiting(void **state)
{
    static const char *const large[] = { "width", "256", "height", "256", NULL };
    enum { JOBS = 64, LARGE = 20 };
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    open_limited(&a, "one-large", "20000", "cleanup.policy", "delete");
    worker = start_worker(&a, 0, NULL);
    put_job(&a, 0, 0, 2);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_results(&a, 1, 40); /* the limit is known by now */
    for (int i = 1; i < JOBS; i++)
        put_fields(&a, i % PARTITIONS, i, 2, "", i == LARGE ? large : NULL);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_results(&a, JOBS, 40);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    assert_int_equal(t.failed, 1);
    dr_result_free(t.last);
    assert_nothing_in_vain(&a);
    assert_exactly_once(&a, JOBS);
    assert_false(has_logged(&a, "still trying"));
    arena_close(&a);
}

/* Each result fits by itself, but two in one batch do not.  The limit is the topic's, or the client's own. */
static void small_limits_are_no_reason_to_fail(void **state)
{
    static const char *const own[] = { "-X", "producer.message.max.bytes=6000", NULL };
    enum { JOBS = 40 };
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_limited(&a, i ? "small-own" : "small", i ? NULL : "6000", "cleanup.policy", "delete");
        put_jobs(&a, 0, JOBS);
        worker = start_worker(&a, 0, i ? own : NULL);
        wait_results(&a, JOBS, 40);
        assert_int_equal(end(worker), 0);
        count_results(&a, &t, false);
        assert_int_equal(t.failed, 0);
        dr_result_free(t.last);
        assert_exactly_once(&a, JOBS);
        arena_close(&a);
    }
}

/* Some of the jobs have results that are too large, and the worker can't know that before it has sent one.
 * The broker's first refusal tells it: these jobs fail, and the others are as ever. */
static void assert_learns_from_a_refusal(arena *a, const char *const *flags)
{
    static const char *const large[] = { "width", "256", "height", "256", NULL };
    enum { JOBS = 24, LARGE = 4 };
    pid_t worker;
    tally t;

    for (int i = 0; i < JOBS; i++)
        put_fields(a, i % PARTITIONS, i, 2, "", i < LARGE ? large : NULL);
    assert_int_equal(rd_kafka_flush(a->producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(a, 0, flags);
    wait_results(a, JOBS, 40);
    assert_int_equal(end(worker), 0);
    count_results(a, &t, false);
    assert_int_equal(t.failed, LARGE);
    dr_result_free(t.last);
    assert_exactly_once(a, JOBS);
    assert_false(has_logged(a, "Purged"));
    assert_false(has_logged(a, "timed out"));
    arena_close(a);
}

/* Nobody knows the size of a batch before it is compressed. */
static void a_producer_that_compresses_learns_from_a_refusal(void **state)
{
    static const char *const compressed[] = { "-X", "producer.compression.type=gzip", NULL };
    arena a;

    (void)state;
    open_limited(&a, "learn", "20000", "cleanup.policy", "delete");
    assert_learns_from_a_refusal(&a, compressed);
}

static void keep_reply_error(void *arg, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    size_t size;

    if (rd_kafka_message_headers(m, &headers) || !kafka_header(headers, "darkroom-reply-topic", &size))
        return;
    assert_string_equal(kafka_header(headers, "darkroom-reply-topic", &size), "nowhere");
    assert_non_null(kafka_header(headers, "darkroom-reply-error", &size));
    ++*(int *)arg;
}

static void a_missing_reply_topic_keeps_nobody_waiting(void **state)
{
    static const char *const flags[] = { "--reply-topics", "nowhere", NULL };
    static const char *const nowhere[] = { "reply_topic", "nowhere", NULL };
    enum { JOBS = 16 };
    pid_t worker;
    int told = 0;
    tally t;
    arena a;

    (void)state;
    arena_open(&a, "reply", NULL);
    for (int i = 0; i < JOBS; i++)
        put_fields(&a, i % PARTITIONS, i, 2, "", i % 5 == 1 ? nowhere : NULL);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, flags);
    wait_results(&a, JOBS, 40);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    assert_int_equal(t.failed, 0);
    dr_result_free(t.last);
    read_topic(a.results, 2, false, keep_reply_error, &told);
    assert_int_equal(told, 3);
    assert_int_equal(times_logged(&a, "reply topic nowhere can"), 1); /* no flood */
    assert_nothing_in_vain(&a);
    assert_false(has_logged(&a, "still trying"));
    arena_close(&a);
}

static void letters_wait_for_their_topic_alone(void **state)
{
    enum { JOBS = 8 };
    pid_t worker;
    found f;
    arena a;

    (void)state;
    open_limited(&a, "waits", NULL, NULL, NULL);
    put_garbage(&a, 3, 0, 7);
    put_jobs(&a, 0, JOBS);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, JOBS, 40);
    assert_true(has_logged(&a, "waits.dead: "));
    create_topic(a.producer, a.dead, 1, NULL, NULL);
    wait_found(a.dead, 1, &f);
    found_free(&f);
    wait_committed(&a, 0, 3);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

static long resident_kib(pid_t pid)
{
    char path[32], line[128];
    long kib = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(f);
    assert_true(kib > 0);
    return kib;
}

/* Waits until the process has not grown by more than 1 MiB for two seconds. */
static long settled_kib(pid_t pid)
{
    const int64_t until_ms = dr_clock_ms() + 40000;
    long kib = resident_kib(pid);

    for (int still = 0; still < 8 && dr_clock_ms() < until_ms; still++) {
        sleep_ms(250);
        const long now = resident_kib(pid);
        if (now > kib + 1024) {
            kib = now;
            still = 0;
        }
    }
    return kib;
}

/* Far more small messages than the worker can answer: they wait for a topic of dead letters that does not
 * exist. */
static void a_backlog_of_small_jobs_is_not_fetched_into_memory(void **state)
{
    enum { MESSAGES = 60000, BYTES = 150, GROWTH_KIB_MAX = 10 * 1024 };
    char bytes[BYTES];
    long before, after;
    pid_t worker;
    arena a;

    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    open_limited(&a, "backlog", NULL, NULL, NULL);
    put_job(&a, 0, 0, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 1, 40);
    before = settled_kib(worker);
    for (int p = 0; p < PARTITIONS; p++) {
        for (int i = 0; i < MESSAGES; i++)
            put(&a, p, "k", bytes, sizeof(bytes));
        assert_int_equal(rd_kafka_flush(a.producer, 40000), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    after = settled_kib(worker);
    print_message("    %ld MiB, and with %d messages of %d partitions %ld MiB\n", before / 1024, MESSAGES,
                  PARTITIONS, after / 1024);
    assert_true(has_logged(&a, "a dead letter: not a job"));
    if (after - before > GROWTH_KIB_MAX)
        fail_msg("it grew by %ld KiB", after - before);
    kill(worker, SIGKILL);
    exit_code(worker);
    arena_close(&a);
}

/* Denies everybody one right to a topic.  Everybody keeps every right to the topics that no rule names. */
static void deny(arena *a, const char *topic, rd_kafka_AclOperation_t operation)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(a->producer);
    rd_kafka_AclBinding_t *rules[2];
    rd_kafka_event_t *event;
    const rd_kafka_acl_result_t **results;
    size_t count;

    rules[0] =
        rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:*",
                                "*", RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, NULL, 0);
    rules[1] = rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                                       "User:*", "*", operation, RD_KAFKA_ACL_PERMISSION_TYPE_DENY, NULL, 0);
    rd_kafka_CreateAcls(a->producer, rules, 2, NULL, queue);
    event = rd_kafka_queue_poll(queue, 30000);
    assert_non_null(event);
    results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_null(rd_kafka_acl_result_error(results[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_AclBinding_destroy_array(rules, 2);
    rd_kafka_queue_destroy(queue);
}

/* The broker does not say which topic of the transaction can't be written to. */
static void letters_wait_for_the_right_to_write_alone(void **state)
{
    enum { JOBS = 12 };
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "right", NULL);
    deny(&a, a.dead, RD_KAFKA_ACL_OPERATION_WRITE);
    put_jobs(&a, 0, 4);
    put_garbage(&a, 3, 0, 7);
    put_jobs(&a, 4, JOBS);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, JOBS, 40);
    assert_true(has_logged(&a, "still trying"));
    assert_true(has_logged(&a, "uthorization failed"));
    assert_false(has_logged(&a, "Purged"));
    kill(worker, SIGKILL); /* the letter waits: there is no draining */
    exit_code(worker);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

static void without_the_right_to_ask_the_first_refusal_tells(void **state)
{
    arena a;

    (void)state;
    arena_open(&a, "ask", "20000");
    deny(&a, a.results, RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS);
    assert_learns_from_a_refusal(&a, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backlog_of_small_jobs_is_not_fetched_into_memory),
        cmocka_unit_test(a_letter_is_cut_to_what_its_topic_takes),
        cmocka_unit_test(a_letter_near_the_brokers_limit_stops_nobody),
        cmocka_unit_test(what_can_be_no_letter_is_an_error_and_is_finished),
        cmocka_unit_test(a_result_becomes_smaller_until_it_fits),
        cmocka_unit_test(one_large_result_keeps_nobody_waiting),
        cmocka_unit_test(small_limits_are_no_reason_to_fail),
        cmocka_unit_test(a_producer_that_compresses_learns_from_a_refusal),
        cmocka_unit_test(a_missing_reply_topic_keeps_nobody_waiting),
        cmocka_unit_test(letters_wait_for_their_topic_alone),
        cmocka_unit_test(letters_wait_for_the_right_to_write_alone),
        cmocka_unit_test(without_the_right_to_ask_the_first_refusal_tells),
    };

    return set_up(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
