/* Each job has exactly one committed result, at a real broker, since a mock can't show that.  Workers are
 * killed, stopped, joined and left; the broker dies. */
#include "tests/kafka/real_broker.h"
#include "worker/delivery/consumer.h"
#include "worker/delivery/outbox.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void workers_come_and_go(void **state)
{
    enum { JOBS = 400 };
    pid_t first, second;
    arena a;

    (void)state;
    arena_open(&a, "come", NULL);
    put_jobs(&a, 0, JOBS);
    first = start_worker(&a, 0, NULL);
    sleep_ms(1500);
    second = start_worker(&a, 1, NULL); /* a rebalance in the middle of the first one's batches */
    sleep_ms(1500);
    assert_int_equal(end(first), 0);
    wait_results(&a, JOBS, 40);
    assert_int_equal(end(second), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

static void count_message(void *arg, const rd_kafka_message_t *m)
{
    (void)m;
    ++*(int *)arg;
}

/* One slow job at the head of a partition.  The jobs behind it are settled and committed, and not done again
 * after a crash. */
static void what_finished_out_of_order_is_not_done_again(void **state)
{
    static const char *const one_at_a_time[] = { "--batch-max", "1", "--null-step-us", "40000", NULL };
    char metadata[4096];
    int64_t offset;
    int dead = 0;
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "order", NULL);
    for (int i = 1; i < 9; i++)
        put_job(&a, 1, i, 2);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 8, 20);
    assert_int_equal(end(worker), 0);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 8);
    assert_string_equal(metadata, "");

    worker = start_worker(&a, 0, one_at_a_time);
    sleep_ms(1500);
    put_job(&a, 1, 0, 150); /* 6 s */
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    sleep_ms(500);
    put(&a, 1, "k", "garbage", 7); /* needs no device: done while the slow one runs */
    put(&a, 1, "k", "garbage", 7);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    sleep_ms(1500);
    kill(worker, SIGKILL);
    exit_code(worker);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 8);
    assert_string_equal(metadata, "dr1:8:Aw=="); /* 9 and 10 */

    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 9, 20);
    assert_int_equal(end(worker), 0);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 11);
    assert_string_equal(metadata, "");
    assert_exactly_once(&a, 9);
    read_topic(a.dead, 1, false, count_message, &dead);
    assert_int_equal(dead, 2);
    arena_close(&a);
}

/* The broker has committed, but the worker did not hear of it.  It asks the group, and so does not send the
 * result again. */
static void a_commit_that_nobody_heard_of_is_found(void **state)
{
    dr_property setting = { "bootstrap.servers", brokers };
    const dr_kafka_options options = { &setting, 1 };
    dr_commit_entry entry = { .ours = false };
    rd_kafka_message_t *m = NULL;
    dr_outbox *outbox;
    dr_consumer *consumer;
    dr_books *books;
    dr_commit *commit;
    dr_error err;
    arena a;

    (void)state;
    arena_open(&a, "unheard", NULL);
    put_job(&a, 2, 0, 4);
    put_job(&a, 2, 1, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(dr_books_open(&books, a.jobs, a.name, &err), DR_OK);
    assert_int_equal(dr_consumer_open(&consumer, &(dr_consumer_options){ options, "slot-0", books }, &err),
                     DR_OK);
    assert_int_equal(dr_outbox_open(&outbox,
                                    &(dr_outbox_options){ options, DR_EXACTLY_ONCE, "slot-0", a.name }, &err),
                     DR_OK);
    for (int i = 0; i < 2; i++) { /* the first one is not settled, so that the metadata is needed */
        if (m)
            rd_kafka_message_destroy(m);
        m = dr_books_next(books, 20000);
        assert_non_null(m);
    }
    entry.origin = dr_books_origin(m);
    rd_kafka_message_destroy(m);
    assert_int_equal(dr_books_plan(books, &entry, 1, &commit, &err), DR_OK);
    assert_true(entry.ours);
    assert_int_equal(dr_outbox_send(outbox, NULL, 0, commit, &err), DR_SENT);
    dr_commit_free(commit); /* "it has not been committed" */

    assert_int_equal(dr_books_plan(books, &entry, 1, &commit, &err), DR_OK);
    assert_true(entry.ours); /* the danger */
    dr_commit_free(commit);
    assert_int_equal(dr_books_reread(books, &err), DR_OK);
    assert_int_equal(dr_books_plan(books, &entry, 1, &commit, &err), DR_OK);
    assert_false(entry.ours);
    dr_commit_free(commit);
    dr_outbox_close(outbox);
    dr_consumer_close(consumer);
    dr_books_close(books);
    arena_close(&a);
}

static void at_least_once_loses_nothing(void **state)
{
    enum { JOBS = 300 };
    static const char *const flags[] = { "--delivery", "at_least_once", NULL };
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    arena_open(&a, "least", NULL);
    put_jobs(&a, 0, JOBS);
    worker = start_worker(&a, 0, flags);
    for (int k = 0; k < 3; k++) {
        sleep_ms(1200);
        kill(worker, SIGKILL);
        exit_code(worker);
        worker = start_worker(&a, 0, flags);
    }
    wait_results(&a, JOBS, 30);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    print_message("    %d jobs, %d results\n", JOBS, t.messages);
    assert_int_equal(distinct(&t), JOBS);
    dr_result_free(t.last);
    arena_close(&a);
}

/* Two workers.  Now and then one of them is killed in the middle of its work, and started again. */
static void nothing_is_lost_or_doubled_by_kill_9(void **state)
{
    enum { JOBS = 1200, KILLS = 16 };
    pid_t worker[2];
    arena a;

    (void)state;
    arena_open(&a, "kill", NULL);
    put_jobs(&a, 0, JOBS);
    for (int i = 0; i < 2; i++)
        worker[i] = start_worker(&a, i, NULL);
    sleep_ms(1000);
    for (int k = 0; k < KILLS; k++) {
        const int i = (int)draw(2);
        sleep_ms(200 + (int)draw(900));
        kill(worker[i], SIGKILL);
        assert_int_equal(exit_code(worker[i]), -SIGKILL);
        worker[i] = start_worker(&a, i, NULL);
    }
    wait_results(&a, JOBS, 60);
    for (int i = 0; i < 2; i++)
        assert_int_equal(end(worker[i]), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

/* A worker is stopped for longer than its session and its open transaction last.  When it goes on, its
 * results are for partitions of another worker, and its producer is fenced. */
static void a_sleeper_doubles_nothing(void **state)
{
    static const char *const impatient[] = { "-X", "producer.transaction.timeout.ms=4000", "-X",
                                             "producer.message.timeout.ms=3000", NULL };
    enum { JOBS = 300 };
    pid_t worker[2];
    arena a;

    (void)state;
    arena_open(&a, "sleep", NULL);
    for (int i = 0; i < 2; i++)
        worker[i] = start_worker(&a, i, impatient);
    sleep_ms(2000);
    put_jobs(&a, 0, JOBS);
    sleep_ms(300);
    kill(worker[0], SIGSTOP);
    wait_results(&a, JOBS, 40); /* the other one has all partitions after 6 s */
    kill(worker[0], SIGCONT);
    sleep_ms(1500);
    put_jobs(&a, JOBS, JOBS + 40);
    wait_results(&a, JOBS + 40, 30);
    for (int i = 0; i < 2; i++)
        assert_int_equal(end(worker[i]), 0);
    assert_exactly_once(&a, JOBS + 40);
    arena_close(&a);
}

static int exit_code_within(pid_t pid, int seconds)
{
    const int64_t until_ms = dr_clock_ms() + seconds * 1000;
    siginfo_t info = { 0 };

    while (!waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid &&
           dr_clock_ms() < until_ms)
        sleep_ms(50);
    if (!info.si_pid)
        kill(pid, SIGKILL);
    return exit_code(pid);
}

/* Each worker counts the loss in the transaction that commits its other results.  The next worker reads the
 * count there. */
static void a_job_that_every_device_is_lost_with_fails_alone(void **state)
{
    enum { JOBS = 60, LOSES = 31, DEVICE_LOST = 5 };
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    arena_open(&a, "lost", NULL);
    put_jobs(&a, 0, LOSES);
    put_prompt(&a, LOSES % PARTITIONS, LOSES, 2, "!lose device");
    put_jobs(&a, LOSES + 1, JOBS);
    for (int i = 0; i < DR_DEVICE_LOSSES_MAX; i++)
        assert_int_equal(exit_code_within(start_worker(&a, 0, NULL), 60), DEVICE_LOST);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, JOBS, 40);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, JOBS);
    count_results(&a, &t, false);
    assert_int_equal(t.failed, 1);
    dr_result_free(t.last);
    arena_close(&a);
}

static bool broker_listens(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(strchr(brokers, ':') + 1)) };
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool listens;

    assert_true(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listens = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return listens;
}

/* The only broker is killed in the middle and started again.  Every worker waits, and none gives up. */
static void the_broker_may_die(void **state)
{
    enum { JOBS = 400 };
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "broker", NULL);
    put_jobs(&a, 0, JOBS);
    worker = start_worker(&a, 0, NULL);
    sleep_ms(2000);
    assert_true(broker_listens());
    assert_int_equal(system("tests/kafka/broker.sh kill build/kafka/test-broker"), 0);
    assert_false(broker_listens());
    sleep_ms(1000);
    assert_int_equal(system("tests/kafka/broker.sh again build/kafka/test-broker"), 0);
    wait_results(&a, JOBS, 60);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_finished_out_of_order_is_not_done_again),
        cmocka_unit_test(workers_come_and_go),
        cmocka_unit_test(a_commit_that_nobody_heard_of_is_found),
        cmocka_unit_test(at_least_once_loses_nothing),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kill_9),
        cmocka_unit_test(a_sleeper_doubles_nothing),
        cmocka_unit_test(a_job_that_every_device_is_lost_with_fails_alone),
        cmocka_unit_test(the_broker_may_die),
    };

    return set_up(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
