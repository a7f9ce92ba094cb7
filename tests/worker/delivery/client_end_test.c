/* A Kafka client that never ends: librdkafka 2.0.2 sometimes waits for ever when a client whose topic was
 * deleted is destroyed.  A thread that closes the consumer or ends a reader must not wait for that client,
 * nor must the worker.
 *
 * The linker sends the calls of rd_kafka_destroy_flags() here. */
#include "worker/delivery/books.h"
#include "worker/delivery/consumer.h"
#include "worker/kafka/kafka.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;     /* destruction waits */
static int destroyed; /* clients */

void __real_rd_kafka_destroy_flags(rd_kafka_t *rk, int flags);
void __wrap_rd_kafka_destroy_flags(rd_kafka_t *rk, int flags);

void __wrap_rd_kafka_destroy_flags(rd_kafka_t *rk, int flags)
{
    pthread_mutex_lock(&lock);
    while (held)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    __real_rd_kafka_destroy_flags(rk, flags);
    pthread_mutex_lock(&lock);
    destroyed++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void hold(bool hold_now)
{
    pthread_mutex_lock(&lock);
    held = hold_now;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_destroyed(int count)
{
    pthread_mutex_lock(&lock);
    while (destroyed < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* A consumer whose broker does not answer. */
static void open_and_close(void)
{
    dr_property nowhere = { "bootstrap.servers", "127.0.0.1:1" };
    dr_consumer_options options = { .kafka = { &nowhere, 1 }, .slot = "slot" };
    dr_consumer *consumer;
    dr_books *books;
    dr_error err;

    if (dr_books_open(&books, "jobs", "group", &err))
        fail_msg("%s", err.text);
    options.books = books;
    if (dr_consumer_open(&consumer, &options, &err))
        fail_msg("%s", err.text);
    dr_consumer_close(consumer);
    dr_books_close(books);
}

static void a_client_has_ended_when_its_consumer_is_closed(void **state)
{
    (void)state;
    open_and_close();
    assert_int_equal(destroyed, 1);
}

static void a_client_that_does_not_end_holds_nobody_up(void **state)
{
    const int before = destroyed;

    (void)state;
    hold(true);
    open_and_close();
    assert_int_equal(destroyed, before);
    hold(false);
    wait_destroyed(before + 1); /* what it needs of the consumer is still there */
}

static rd_kafka_t *open_reader(void)
{
    dr_property nowhere = { "bootstrap.servers", "127.0.0.1:1" };
    const dr_kafka_options options = { &nowhere, 1 };
    rd_kafka_t *rk;
    dr_error err;

    if (dr_kafka_reader(&rk, &options, "reader", &err))
        fail_msg("%s", err.text);
    return rk;
}

static void a_reader_that_does_not_end_holds_nobody_up(void **state)
{
    const int before = destroyed;

    (void)state;
    dr_kafka_end_reader(open_reader());
    assert_int_equal(destroyed, before + 1);
    hold(true);
    dr_kafka_end_reader(open_reader());
    assert_int_equal(destroyed, before + 1);
    hold(false);
    wait_destroyed(before + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_has_ended_when_its_consumer_is_closed),
        cmocka_unit_test(a_client_that_does_not_end_holds_nobody_up),
        cmocka_unit_test(a_reader_that_does_not_end_holds_nobody_up),
    };

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
