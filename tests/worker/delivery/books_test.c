/* The books without a broker.  Whatever leases come and go: only what is ours is committed, it is committed
 * once, and the offset never goes back.
 *
 * The test makes the messages itself.  The linker sends librdkafka's calls about them here, too
 * (mk/tests.mk). */
#include "worker/delivery/books.h"
#include "worker/delivery/carried.h"
#include "worker/delivery/lease.h"
#include "worker/delivery/partitions.h"
#include "worker/kafka/kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static dr_books *books;
static dr_member *member; /* reaches no broker */
static int messages;      /* that live */

void __wrap_rd_kafka_message_destroy(rd_kafka_message_t *m);
rd_kafka_headers_t *__wrap_dr_carried_headers(const rd_kafka_message_t *m);

void __wrap_rd_kafka_message_destroy(rd_kafka_message_t *m)
{
    free(m);
    messages--;
}

rd_kafka_headers_t *__wrap_dr_carried_headers(const rd_kafka_message_t *m)
{
    (void)m;
    return NULL;
}

static int start(void **state)
{
    dr_property settings[] = { { "bootstrap.servers", "127.0.0.1:1" } };
    const dr_kafka_options options = { settings, 1 };
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    dr_error err;

    (void)state;
    if (dr_books_open(&books, "jobs", "workers", &err) ||
        dr_kafka_conf(&conf, DR_KAFKA_GROUP_CONSUMER, &options, &err) ||
        dr_kafka_conf_set(conf, "group.id", "workers", &err) ||
        dr_kafka_create(&rk, RD_KAFKA_CONSUMER, conf, &err))
        fail_msg("%s", err.text);
    member = dr_member_create(rk);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    dr_books_end_lease(books);
    dr_books_close(books);
    dr_member_end(member, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    assert_int_equal(messages, 0);
    return 0;
}

/* Begins a lease of this partition, for which the group has committed this offset.  -1: of no partition. */
static void begin_lease(int32_t partition, int64_t committed)
{
    const rd_kafka_topic_partition_t at = { .offset = committed };
    dr_partitions partitions = { 0 };
    dr_partition *p;
    dr_error err;

    if (partition >= 0) {
        assert_int_equal(dr_partitions_add(&partitions, partition, &p, &err), DR_OK);
        assert_int_equal(dr_partition_restore(p, "jobs", &at, 0, 1000, &err), DR_OK);
    }
    dr_books_begin_lease(books, &partitions, dr_lease_create(member));
}

static bool admit(int64_t offset)
{
    rd_kafka_message_t *m = calloc(1, sizeof(*m));

    messages++;
    m->offset = offset;
    if (dr_books_admit(books, m))
        return true;
    rd_kafka_message_destroy(m);
    return false;
}

/* Reads jobs of partition 0 and gives them to the pipeline. */
static void run_jobs(int64_t from, int64_t to)
{
    for (int64_t o = from; o < to; o++)
        assert_true(admit(o));
    for (int64_t o = from; o < to; o++) {
        rd_kafka_message_t *m = dr_books_next(books, 0);
        assert_non_null(m);
        assert_int_equal(m->offset, o);
        rd_kafka_message_destroy(m);
    }
}

static dr_commit_entry entry_of(int64_t offset)
{
    return (dr_commit_entry){ .origin = { .offset = offset } };
}

static dr_commit *plan(dr_commit_entry *entries, size_t count)
{
    dr_commit *commit;
    dr_error err;

    if (dr_books_plan(books, entries, count, &commit, &err))
        fail_msg("%s", err.text);
    return commit;
}

/* Commits the answer to one job, which is ours.  The commit is up to `next`, with or without metadata. */
static void commit_one(int64_t offset, int64_t next, bool metadata)
{
    dr_commit_entry entry = entry_of(offset);
    dr_commit *commit = plan(&entry, 1);

    assert_non_null(commit);
    assert_true(entry.ours);
    assert_int_equal(commit->offsets->cnt, 1);
    assert_int_equal(commit->offsets->elems[0].offset, next);
    assert_int_equal(commit->offsets->elems[0].metadata != NULL, metadata);
    dr_books_committed(books, commit);
}

static int running(void)
{
    dr_books_state state;

    dr_books_state_get(books, &state);
    return state.running;
}

static void jobs_are_committed_in_any_order(void **state)
{
    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 4);
    assert_int_equal(running(), 4);
    commit_one(2, 0, true);
    commit_one(0, 1, true);
    commit_one(1, 3, false);
    commit_one(3, 4, false);
    assert_int_equal(running(), 0);
    assert_null(plan(NULL, 0)); /* all is committed */
}

static void an_offset_is_settled_once(void **state)
{
    dr_commit_entry twice[2] = { entry_of(0), entry_of(0) }, again = entry_of(0);
    dr_commit *commit;

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 2);
    commit = plan(twice, 2);
    assert_true(twice[0].ours && !twice[1].ours);
    assert_int_equal(commit->count, 1);
    dr_books_committed(books, commit);
    assert_null(plan(&again, 1));
    assert_false(again.ours);
    assert_true(admit(0)); /* read once more, as after a rebalance: nothing runs */
    assert_int_equal(running(), 1);
}

/* A plan that was not sent changes nothing. */
static void a_plan_alone_changes_nothing(void **state)
{
    dr_commit_entry entry = entry_of(0);

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 1);
    dr_commit_free(plan(&entry, 1));
    assert_true(entry.ours);
    assert_int_equal(running(), 1);
    commit_one(0, 1, false);
}

static void without_a_lease_nothing_is_committed(void **state)
{
    dr_commit_entry entry = entry_of(0);
    dr_commit *commit;
    dr_error err;

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 2);
    dr_books_end_lease(books);
    assert_false(dr_books_wait_lease(books, 0));
    assert_int_equal(dr_books_plan(books, &entry, 1, &commit, &err), DR_EIO);
    assert_null(commit);
    begin_lease(0, 0); /* the partition came back: the jobs go on */
    assert_int_equal(running(), 2);
    commit_one(0, 1, false);
    dr_books_end_lease(books);
    begin_lease(1, 0); /* and now another worker has it */
    entry = entry_of(1);
    assert_int_equal(dr_books_plan(books, &entry, 1, &commit, &err), DR_OK);
    assert_false(entry.ours);
    assert_int_equal(running(), 0);
    dr_commit_free(commit);
}

/* The commit was under way when the lease ended.  The next lease has read what this commit did, and maybe
 * more. */
static void a_commit_of_an_earlier_lease_is_known_already(void **state)
{
    dr_commit_entry entry[2] = { entry_of(0), entry_of(1) };
    dr_commit *commit;
    rd_kafka_message_t *m;

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 3);
    entry[1].lost = true;
    commit = plan(entry, 2);
    dr_books_end_lease(books);
    begin_lease(0, 2); /* the group has settled 1 as well, whoever did it */
    dr_books_committed(books, commit);
    assert_int_equal(running(), 1);
    commit_one(2, 3, false);

    dr_books_end_lease(books);
    begin_lease(0, 3);
    run_jobs(3, 4);
    entry[0] = entry_of(3);
    entry[0].lost = true;
    commit = plan(entry, 1);
    dr_books_end_lease(books);
    begin_lease(0, 3); /* this commit has not arrived, or the group counted the loss */
    dr_books_committed(books, commit);
    assert_int_equal(running(), 0);
    assert_int_equal(dr_books_losses(books, &entry[0].origin), 0); /* what the group says, not once more */
    m = dr_books_next(books, 0);
    assert_null(m);
}

static void losses_are_counted_with_the_commit(void **state)
{
    dr_commit_entry entry = entry_of(0);
    dr_commit *commit;

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 1);
    entry.lost = true;
    commit = plan(&entry, 1);
    assert_int_equal(commit->offsets->elems[0].offset, 0);
    assert_non_null(commit->offsets->elems[0].metadata);
    dr_books_committed(books, commit);
    assert_int_equal(dr_books_losses(books, &entry.origin), 1);
    assert_int_equal(running(), 0);
}

/* The same offsets mean other jobs then. */
static void a_topic_created_again_is_another_one(void **state)
{
    dr_commit_entry entry = entry_of(0);
    dr_commit *commit;

    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 1);
    dr_books_end_lease(books);
    dr_books_forget(books);
    assert_int_equal(dr_books_incarnation(books), 1);
    begin_lease(0, -1);
    assert_true(admit(0));
    assert_non_null((commit = plan(&entry, 1))); /* only because the group has no offset yet */
    assert_int_equal(commit->count, 0);
    dr_commit_free(commit);
    assert_false(entry.ours);
    entry.origin.incarnation = 1;
    dr_commit_free(plan(&entry, 1));
    assert_true(entry.ours);
}

static void the_inbox_is_bounded_and_goes_with_its_partition(void **state)
{
    (void)state;
    begin_lease(0, 0);
    for (int64_t o = 0; o < DR_INBOX_MESSAGES_MAX; o++)
        assert_true(admit(o));
    assert_false(admit(DR_INBOX_MESSAGES_MAX));
    dr_books_end_lease(books);
    begin_lease(0, 4); /* another worker has settled four of them */
    assert_int_equal(messages, DR_INBOX_MESSAGES_MAX - 4);
    dr_books_end_lease(books);
    begin_lease(1, 0);
    assert_int_equal(messages, 0);
}

static void stopped_books_hand_out_nothing(void **state)
{
    (void)state;
    begin_lease(0, 0);
    run_jobs(0, 1);
    assert_true(admit(1));
    dr_books_stop(books);
    assert_null(dr_books_next(books, 0));
    assert_false(admit(2));
    assert_int_equal(running(), 1); /* which may still be committed */
    commit_one(0, 1, false);
}

/* A partition goes to another worker and comes back while one of its jobs still runs here.  So this job is
 * read once more, and there are two of it. */
static void read_a_job_twice(void)
{
    begin_lease(0, 0);
    run_jobs(0, 1);
    dr_books_end_lease(books);
    begin_lease(-1, 0);
    dr_books_end_lease(books);
    begin_lease(0, 0);
    assert_true(admit(0));
}

static void a_job_that_is_answered_leaves_the_inbox(void **state)
{
    (void)state;
    read_a_job_twice();
    commit_one(0, 1, false); /* the answer of the job that was read first */
    assert_int_equal(messages, 0);
    assert_true(admit(1));
    assert_int_equal(running(), 1);
}

static void a_job_that_was_dropped_during_its_commit_is_settled(void **state)
{
    dr_commit_entry entry = entry_of(0);
    dr_commit *commit;

    (void)state;
    read_a_job_twice();
    commit = plan(&entry, 1);
    assert_true(entry.ours);
    dr_books_stop(books); /* this drops the job that was read last */
    assert_int_equal(running(), 0);
    dr_books_committed(books, commit);
    assert_null(plan(NULL, 0)); /* all is committed */
}

static void a_loss_is_counted_if_the_job_was_dropped_during_its_commit(void **state)
{
    dr_commit_entry entry = entry_of(0);
    dr_commit *commit;

    (void)state;
    read_a_job_twice();
    entry.lost = true;
    commit = plan(&entry, 1);
    dr_books_stop(books);
    dr_books_committed(books, commit);
    assert_int_equal(dr_books_losses(books, &entry.origin), 1);
    assert_int_equal(running(), 0);
}

/* A tool may commit for a group that is at work, because a producer that names no member may do that. */
static void the_offset_of_somebody_else_is_overwritten(void **state)
{
    static const int64_t others[] = { 2, 900 };
    const rd_kafka_topic_partition_t at = { .offset = 5 };
    dr_partitions partitions = { 0 };
    dr_partition *p;
    dr_error err;

    (void)state;
    assert_int_equal(dr_partitions_add(&partitions, 0, &p, &err), DR_OK);
    assert_int_equal(dr_partition_restore(p, "jobs", &at, 0, 1000, &err), DR_OK);
    assert_false(dr_partition_is_dirty(p));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const rd_kafka_topic_partition_t other = { .offset = others[i] };
        assert_int_equal(dr_partition_catch_up(p, &other, &err), DR_OK);
        assert_true(dr_partition_is_dirty(p));
        dr_partition_note_committed(p, 5);
        assert_false(dr_partition_is_dirty(p));
    }
    dr_partitions_clear(&partitions);
}

/* A job may be dropped before it is known whether its commit has arrived.  Then the group tells it. */
static void what_the_group_has_settled_is_settled_even_if_it_was_dropped(void **state)
{
    const rd_kafka_topic_partition_t before = { .offset = 0 }, after = { .offset = 1 };
    const rd_kafka_message_t message = { .offset = 0 };
    dr_partitions partitions = { 0 };
    dr_partition *p;
    dr_error err;

    (void)state;
    assert_int_equal(dr_partitions_add(&partitions, 0, &p, &err), DR_OK);
    assert_int_equal(dr_partition_restore(p, "jobs", &before, 0, 1000, &err), DR_OK);
    assert_int_equal(dr_partition_admit(p, &message), DR_LEDGER_ADMITTED);
    dr_partition_drop(p, 0);
    assert_int_equal(dr_partition_catch_up(p, &after, &err), DR_OK);
    assert_int_equal(p->ledger.next, 1);
    assert_false(dr_partition_is_dirty(p));
    dr_partitions_clear(&partitions);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(jobs_are_committed_in_any_order, start, stop),
        cmocka_unit_test_setup_teardown(an_offset_is_settled_once, start, stop),
        cmocka_unit_test_setup_teardown(a_plan_alone_changes_nothing, start, stop),
        cmocka_unit_test_setup_teardown(without_a_lease_nothing_is_committed, start, stop),
        cmocka_unit_test_setup_teardown(a_commit_of_an_earlier_lease_is_known_already, start, stop),
        cmocka_unit_test_setup_teardown(losses_are_counted_with_the_commit, start, stop),
        cmocka_unit_test_setup_teardown(a_topic_created_again_is_another_one, start, stop),
        cmocka_unit_test_setup_teardown(the_inbox_is_bounded_and_goes_with_its_partition, start, stop),
        cmocka_unit_test_setup_teardown(stopped_books_hand_out_nothing, start, stop),
        cmocka_unit_test_setup_teardown(a_job_that_is_answered_leaves_the_inbox, start, stop),
        cmocka_unit_test_setup_teardown(a_job_that_was_dropped_during_its_commit_is_settled, start, stop),
        cmocka_unit_test_setup_teardown(the_offset_of_somebody_else_is_overwritten, start, stop),
        cmocka_unit_test_setup_teardown(what_the_group_has_settled_is_settled_even_if_it_was_dropped, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_loss_is_counted_if_the_job_was_dropped_during_its_commit, start,
                                        stop),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    alarm(60); /* a test that fails may leave a commit behind, and the member's end would wait for it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
