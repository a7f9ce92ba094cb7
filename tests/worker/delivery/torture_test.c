/* Delivery: each allocation of parcels, clients, partitions and commits fails in turn
 * (tests/worker/torture.h). */
#include "tests/worker/torture.h"
#include "tests/worker/transactions.h"
#include "worker/delivery/consumer.h"
#include "worker/delivery/control.h"
#include "worker/delivery/events.h"
#include "worker/delivery/ledger.h"
#include "worker/delivery/parcel.h"
#include "worker/delivery/publisher.h"

/* --- parcels ------------------------------------------------------------------------------------ */

static dr_status pack_result(void *context, dr_error *err)
{
    dr_result *result;
    dr_parcel *parcel;
    (void)context;

    allocations.fail_at += allocations.asked; /* later allocations must not fail */
    const int fail_at = allocations.fail_at;
    allocations.fail_at = 0;
    result = fox_result();
    allocations.fail_at = fail_at + allocations.asked;
    parcel = dr_parcel_of_result(result, "worker-0", "results");
    if (!parcel) {
        assert_int_equal(result->pictures, 2); /* still the caller's, and whole */
        assert_non_null(result->picture[1].bytes);
        dr_result_free(result);
        return dr_fail(err, DR_ENOMEM, "no memory for a parcel");
    }
    assert_int_equal(parcel->result->error.status, DR_OK);
    dr_parcel_free(parcel);
    return DR_OK;
}

/* The broker refuses the record for its size, again and again, until there is nothing left to leave out. */
static dr_status make_smaller(void *context, dr_error *err)
{
    dr_parcel *parcel = *(dr_parcel **)context;
    const dr_record refused = { .error = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                .bytes = 1000,
                                .bytes_max = 900 };
    void *const bytes = parcel->bytes;
    const dr_amendment amendment = dr_parcel_amend(parcel, &refused);

    if (amendment == DR_AMENDED)
        return DR_OK;
    assert_int_equal(amendment, DR_SET_ASIDE); /* a shortage of memory never gives a parcel up */
    assert_ptr_equal(parcel->bytes, bytes);
    return dr_fail(err, DR_ENOMEM, "no memory for a smaller one");
}

static void parcels_survive_any_allocation(void **state)
{
    dr_parcel *parcel;
    (void)state;

    assert_true(torture(pack_result, NULL) >= 2);
    parcel = dr_parcel_of_result(fox_result(), "worker-0", "results");
    for (int step = 0; step < 3; step++) { /* its pictures, its headers, all but its id */
        dr_error err;

        allocations_fail(1, true);
        const dr_status rc = make_smaller(&parcel, &err);
        allocations_fail(0, false);
        if (rc)
            assert_int_equal(make_smaller(&parcel, &err), DR_OK);
        else
            assert_int_equal(step, 1); /* needs none */
        assert_int_equal(parcel->result->error.status, DR_EIO);
        assert_int_equal(parcel->without_carried, step >= 1);
        assert_int_equal(parcel->result->brief, step == 2);
    }
    dr_parcel_free(parcel);
}

/* --- opening ------------------------------------------------------------------------------------- */

static dr_property nowhere[] = { { "bootstrap.servers", "127.0.0.1:1" }, { "client.id", "torture" } };
static const dr_kafka_options kafka = { nowhere, 2 };

static dr_status open_books(void *context, dr_error *err)
{
    dr_books *b;
    const dr_status rc = dr_books_open(&b, "jobs", "workers", err);
    (void)context;

    assert_int_equal(b == NULL, rc != DR_OK);
    dr_books_close(b);
    return rc;
}

static dr_status open_consumer(void *context, dr_error *err)
{
    const dr_consumer_options options = { kafka, "slot-0", context };
    dr_consumer *c;
    const dr_status rc = dr_consumer_open(&c, &options, err);

    assert_int_equal(c == NULL, rc != DR_OK);
    dr_consumer_close(c);
    return rc;
}

static dr_status open_publisher(void *context, dr_error *err)
{
    const dr_publisher_options options = {
        .outbox = { .kafka = kafka, .delivery = DR_EXACTLY_ONCE, .slot = "slot-0", .group = "workers" },
        .books = context,
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .worker = "slot-0",
    };
    dr_publisher *p;
    const dr_status rc = dr_publisher_start(&p, &options, err);

    assert_int_equal(p == NULL, rc != DR_OK);
    dr_publisher_stop(p);
    return rc;
}

static dr_status open_outbox(void *context, dr_error *err)
{
    const dr_outbox_options options = { kafka, DR_AT_LEAST_ONCE, "slot-0", "workers" };
    dr_outbox *o;
    const dr_status rc = dr_outbox_open(&o, &options, err);
    (void)context;

    assert_int_equal(o == NULL, rc != DR_OK);
    dr_outbox_close(o);
    return rc;
}

static dr_status open_events(void *context, dr_error *err)
{
    dr_events *e;
    const dr_status rc = dr_events_open(&e, &kafka, "events", "slot-0", NULL, err);
    (void)context;

    assert_int_equal(e == NULL, rc != DR_OK);
    dr_events_close(e);
    return rc;
}

static void no_cancel(void *arg, const char *job_id, int64_t sent_until_ms)
{
    (void)arg, (void)job_id, (void)sent_until_ms;
}

static dr_status open_control(void *context, dr_error *err)
{
    dr_control *c;
    const dr_status rc = dr_control_open(&c, &kafka, "control", no_cancel, NULL, err);
    (void)context;

    assert_int_equal(c == NULL, rc != DR_OK);
    dr_control_close(c);
    return rc;
}

static void what_speaks_to_a_broker_opens_or_says_so(void **state)
{
    dr_books *books;
    (void)state;

    assert_true(torture(open_books, NULL) >= 3);
    assert_int_equal(dr_books_open(&books, "jobs", "workers", NULL), DR_OK);
    assert_true(torture(open_consumer, books) >= 4);
    assert_true(torture(open_outbox, NULL) >= 7);
    assert_true(torture(open_events, NULL) >= 3);
    assert_true(torture(open_control, NULL) >= 2);
    assert_true(torture(open_publisher, books) >= 10);
    dr_books_close(books);
}

/* --- partitions and commits ------------------------------------------------------------------------- */

enum { PATIENCE_MS = 60000 };

/* The group has done the job at offset 2 and not the one at 1. */
static void set_group_offset(char text[DR_LEDGER_TEXT_MAX])
{
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(transactions.offsets, "jobs", 0);
    dr_ledger ledger;

    dr_ledger_reset(&ledger, 1);
    dr_ledger_admit(&ledger, 1);
    dr_ledger_admit(&ledger, 2);
    dr_ledger_settle(&ledger, 2);
    dr_ledger_text(&ledger, text);
    at->offset = ledger.next;
    at->metadata = text_copy(text, strlen(text));
    at->metadata_size = strlen(text);
}

typedef struct commit_attempt {
    dr_books *books;
    char text[DR_LEDGER_TEXT_MAX]; /* the commit's, once the job at 3 is settled as well */
} commit_attempt;

static dr_status plan_commit(void *context, dr_error *err)
{
    const commit_attempt *a = context;
    dr_commit_entry entry = { .origin = { .partition = 0, .offset = 3 } };
    const rd_kafka_topic_partition_t *at;
    dr_commit *commit;
    const dr_status rc = dr_books_plan(a->books, &entry, 1, &commit, err);

    assert_int_equal(commit == NULL, rc != DR_OK);
    if (rc) {
        assert_null(entry.headers);
        return rc;
    }
    assert_true(entry.ours && entry.headers);
    at = rd_kafka_topic_partition_list_find(commit->offsets, "jobs", 0);
    assert_true(at && at->offset == 1 &&
                at->metadata); /* never without it: the jobs at 2 and 3 would be done again */
    assert_string_equal(at->metadata, a->text);
    rd_kafka_headers_destroy(entry.headers);
    allocations_leave(at->metadata); /* the library frees it */
    dr_commit_free(commit);
    return DR_OK;
}

static dr_status reread(void *context, dr_error *err)
{
    return dr_books_reread(context, err);
}

/* Each allocation of an assignment fails once.  The jobs that the group has done are not done again. */
static void partitions_and_commits_wait_for_memory(void **state)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    dr_consumer *consumer;
    rd_kafka_message_t *m[2] = { NULL };
    commit_attempt a;
    dr_ledger ledger;
    dr_error err;
    broker b;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    transactions_watch(&b, "workers");
    set_group_offset(a.text);
    rd_kafka_header_add(headers, "traceparent", -1, "00-1", -1);
    for (int i = 0; i < 4; i++)
        broker_put(&b, 0, "key", "value", 5, rd_kafka_headers_copy(headers));
    rd_kafka_headers_destroy(headers);
    assert_int_equal(dr_books_open(&a.books, "jobs", "workers", &err), DR_OK);
    assert_int_equal(dr_consumer_open(&consumer, &(dr_consumer_options){ b.options, "slot-0", a.books },
                                      &err),
                     DR_OK);
    allocations_fail_in_turn();
    for (int i = 0; i < 2; i++)
        while (!m[i] && dr_clock_ms() < until_ms)
            m[i] = dr_books_next(a.books, 1000);
    assert_true(allocations_failed() >= 6); /* two of each partition, the metadata, the lease */
    allocations_fail(0, false);
    assert_true(m[0] && m[0]->offset == 1 && m[1] && m[1]->offset == 3);

    assert_int_equal(dr_ledger_restore(&ledger, 1, a.text, &err), DR_OK);
    dr_ledger_admit(&ledger, 1);
    dr_ledger_admit(&ledger, 3);
    dr_ledger_settle(&ledger, 3);
    dr_ledger_text(&ledger, a.text);
    assert_true(torture(plan_commit, &a) >= 3);
    assert_true(torture(reread, a.books) >= 1);
    for (int i = 0; i < 2; i++)
        rd_kafka_message_destroy(m[i]);
    dr_consumer_close(consumer);
    dr_books_close(a.books);
    transactions_close();
    broker_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parcels_survive_any_allocation),
        cmocka_unit_test(what_speaks_to_a_broker_opens_or_says_so),
        cmocka_unit_test(partitions_and_commits_wait_for_memory),
    };

    torture_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
