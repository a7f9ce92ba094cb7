/* transactions.h - remembers what a real broker knows about transactions and the mock forgets: their offsets,
 * and which records are committed.
 *
 * The mock answers TxnOffsetCommit and drops it, so a group that commits in transactions has no offsets
 * there: each assignment would begin at the start of its partitions and do again, and commit again, all that
 * was committed.  Nor does it look at generations, or hide what was aborted.  So a test that counts stands
 * in between (the Makefile's --wrap):
 *
 *     dr_outbox_send()       refused if its generation is older than the newest that has asked;
 *                            DR_SENT: its offsets are the group's, its records are committed
 *                            (or, where the test wants it so, DR_SENT_UNKNOWN)
 *     rd_kafka_committed()   waits for the transaction that is open, then tells the group's offsets
 *
 * One group of one mock broker, all partitions of one topic.  Other groups pass through.
 * To be included by one file of a program. */
#ifndef DR_TESTS_WORKER_TRANSACTIONS_H
#define DR_TESTS_WORKER_TRANSACTIONS_H

#include "tests/worker/broker_fixture.h"
#include "worker/delivery/outbox.h"

#include <pthread.h>

enum { TXN_OFFSET_COMMIT = 28 /* the request's ApiKey */ };

static struct {
    pthread_mutex_t lock; /* held as long as a transaction is open */
    rd_kafka_mock_cluster_t *cluster;
    const char *group; /* NULL: none is watched */
    int32_t generation;
    rd_kafka_topic_partition_list_t *offsets; /* with metadata */
    char *committed[READ_MAX];                /* keys of records */
    size_t count;
    bool lose_answer; /* the next commit arrives, and its sender does not get to know */
} transactions = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The linker sends the calls to __wrap_...; __real_... are the functions themselves. */
dr_sent __real_dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit,
                              dr_error *err);
dr_sent __wrap_dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit,
                              dr_error *err);
rd_kafka_resp_err_t __real_rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list,
                                              int timeout_ms);
rd_kafka_resp_err_t __wrap_rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list,
                                              int timeout_ms);

static void transactions_watch(broker *b, const char *group)
{
    transactions.cluster = b->cluster;
    transactions.group = group;
    transactions.offsets = rd_kafka_topic_partition_list_new(PARTITIONS);
}

/* How many records of that key are committed. */
static inline int transactions_count(const char *key)
{
    int n = 0;

    pthread_mutex_lock(&transactions.lock);
    for (size_t i = 0; i < transactions.count; i++)
        n += strcmp(transactions.committed[i], key) == 0;
    pthread_mutex_unlock(&transactions.lock);
    return n;
}

/* A key that was committed more than once, among all keys ever committed; or NULL. */
static inline const char *transactions_doubled(void)
{
    const char *doubled = NULL;

    pthread_mutex_lock(&transactions.lock);
    for (size_t i = 0; i < transactions.count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(transactions.committed[i], transactions.committed[k]) == 0)
                doubled = transactions.committed[i];
    pthread_mutex_unlock(&transactions.lock);
    return doubled;
}

/* Nobody commits any more. */
static void transactions_close(void)
{
    rd_kafka_topic_partition_list_destroy(transactions.offsets);
    for (size_t i = 0; i < transactions.count; i++)
        free(transactions.committed[i]);
    transactions.group = NULL;
    transactions.generation = 0;
    transactions.count = 0;
}

/* False: of a group that is not watched.  The generation is there for brokers only, but can be had by
 * writing the metadata out: 7 bytes of magic, the generation, the group's name (librdkafka's
 * rdkafka_cgrp.c); -1 is a member's that was lost. */
static bool generation_of(const rd_kafka_consumer_group_metadata_t *metadata, int32_t *generation)
{
    enum { AT = 7, NAME_AT = AT + sizeof(*generation) };
    char *bytes;
    size_t size;
    bool watched;

    if (!metadata || !transactions.group)
        return false;
    dr_assert(!rd_kafka_consumer_group_metadata_write(metadata, (void **)&bytes, &size));
    dr_assert(memcmp(bytes, "CGMDv2:", AT) == 0);
    memcpy(generation, bytes + AT, sizeof(*generation));
    watched = strcmp(bytes + NAME_AT, transactions.group) == 0;
    rd_kafka_mem_free(NULL, bytes);
    return watched;
}

/* By the library, since our own allocations may be made to fail (tests/support/allocations.h). */
static char *text_copy(const void *text, size_t size)
{
    char *copy = rd_kafka_mem_malloc(NULL, size + 1);

    memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

static void set_offset(rd_kafka_topic_partition_t *to, const rd_kafka_topic_partition_t *from)
{
    free(to->metadata);
    to->offset = from->offset;
    to->metadata = from->metadata ? text_copy(from->metadata, from->metadata_size) : NULL;
    to->metadata_size = from->metadata ? from->metadata_size : 0;
}

static void keep_transaction(const dr_record *records, size_t count, const dr_commit *commit)
{
    for (int i = 0; i < commit->offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *from = &commit->offsets->elems[i];
        rd_kafka_topic_partition_t *to =
            rd_kafka_topic_partition_list_find(transactions.offsets, from->topic, from->partition);
        if (!to)
            to = rd_kafka_topic_partition_list_add(transactions.offsets, from->topic, from->partition);
        set_offset(to, from);
    }
    for (size_t i = 0; i < count; i++) {
        dr_assert(transactions.count < READ_MAX);
        transactions.committed[transactions.count++] = text_copy(records[i].key, records[i].key_size);
    }
}

dr_sent __wrap_dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit,
                              dr_error *err)
{
    int32_t generation;
    dr_sent sent;

    if (!generation_of(commit->group, &generation))
        return __real_dr_outbox_send(o, records, count, commit, err);
    pthread_mutex_lock(&transactions.lock);
    if (generation < transactions.generation)
        rd_kafka_mock_push_request_errors(transactions.cluster, TXN_OFFSET_COMMIT, 1,
                                          RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
    sent = __real_dr_outbox_send(o, records, count, commit, err);
    if (sent == DR_SENT)
        keep_transaction(records, count, commit);
    if (sent == DR_SENT && count > 0 && transactions.lose_answer) {
        transactions.lose_answer = false;
        dr_fail(err, DR_EIO, "the answer is lost, as asked");
        sent = DR_SENT_UNKNOWN;
    }
    pthread_mutex_unlock(&transactions.lock);
    return sent;
}

rd_kafka_resp_err_t __wrap_rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list,
                                              int timeout_ms)
{
    const rd_kafka_resp_err_t code = __real_rd_kafka_committed(rk, list, timeout_ms);
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(rk);
    int32_t generation;
    const bool watched = generation_of(metadata, &generation);

    if (metadata)
        rd_kafka_consumer_group_metadata_destroy(metadata);
    if (code || !watched)
        return code;
    pthread_mutex_lock(&transactions.lock);
    if (generation > transactions.generation)
        transactions.generation = generation;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *from =
            rd_kafka_topic_partition_list_find(transactions.offsets, list->elems[i].topic,
                                               list->elems[i].partition);
        if (from)
            set_offset(&list->elems[i], from);
    }
    pthread_mutex_unlock(&transactions.lock);
    return code;
}

#endif
