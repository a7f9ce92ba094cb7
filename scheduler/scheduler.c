/* scheduler.c - the policy: the most urgent job leads, and its equals go with it.
 *
 * Waiting jobs stand in one array, in order of arrival.  The job with the highest priority leads the
 * batch; among equal priorities the oldest job leads.  Then every job with the same key joins, the oldest
 * first, as long as it fits.  A job whose deadline has passed never runs: it is given back as EXPIRE
 * before any batch. */
#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>

struct dr_scheduler {
    size_t jobs_max, waiting;
    dr_waiting_job job[]; /* [jobs_max], in order of arrival */
};

dr_status dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options, dr_error *err)
{
    dr_scheduler *s;

    *out = NULL;
    dr_assert(options->jobs_max > 0);
    s = calloc(1, sizeof(*s) + options->jobs_max * sizeof(s->job[0]));
    if (!s)
        return dr_fail(err, DR_ENOMEM, "no memory for %zu waiting jobs", options->jobs_max);
    s->jobs_max = options->jobs_max;
    *out = s;
    return DR_OK;
}

void dr_scheduler_free(dr_scheduler *s)
{
    free(s);
}

dr_status dr_scheduler_add(dr_scheduler *s, const dr_waiting_job *job, dr_error *err)
{
    dr_assert(job->samples >= 1);
    if (s->waiting == s->jobs_max)
        return dr_fail(err, DR_ENOMEM, "%zu jobs are waiting, which is the limit", s->jobs_max);
    s->job[s->waiting++] = *job;
    dr_assert(s->waiting <= s->jobs_max);
    return DR_OK;
}

/* Takes a job out.  The others keep their order. */
static void take_out(dr_scheduler *s, size_t i)
{
    dr_assert(i < s->waiting);
    s->waiting--;
    memmove(&s->job[i], &s->job[i + 1], (s->waiting - i) * sizeof(s->job[0]));
}

bool dr_batch_key_equal(const dr_batch_key *a, const dr_batch_key *b)
{
    return a->alone == b->alone && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

static void move_to_batch(dr_scheduler *s, size_t i, dr_batch *batch)
{
    dr_assert(batch->jobs < DR_BATCH_JOBS_MAX);
    batch->job[batch->jobs++] = s->job[i].job;
    batch->samples += s->job[i].samples;
    take_out(s, i);
}

/* Takes jobs whose deadline has passed, at most DR_BATCH_JOBS_MAX.  DR_IDLE: there are none. */
static dr_batch expired(dr_scheduler *s, int64_t now_ns)
{
    dr_batch batch = { .decision = DR_IDLE };

    for (size_t i = 0; i < s->waiting && batch.jobs < DR_BATCH_JOBS_MAX;) {
        if (s->job[i].deadline_ns > now_ns) {
            i++;
            continue;
        }
        batch.decision = DR_EXPIRE;
        move_to_batch(s, i, &batch);
    }
    return batch;
}

/* The job that leads the next batch; NULL: no job waits. */
static const dr_waiting_job *most_urgent(const dr_scheduler *s)
{
    const dr_waiting_job *best = NULL;

    for (size_t i = 0; i < s->waiting; i++)
        if (!best || s->job[i].priority > best->priority)
            best = &s->job[i];
    return best;
}

/* Jobs with the batch's key join it, the oldest first, as long as they fit. */
static void fill(dr_scheduler *s, dr_batch *batch, int room)
{
    for (size_t i = 0; i < s->waiting && batch->jobs < DR_BATCH_JOBS_MAX;) {
        if (dr_batch_key_equal(&s->job[i].key, &batch->key) && batch->samples + s->job[i].samples <= room)
            move_to_batch(s, i, batch);
        else
            i++;
    }
}

/* Asserts that no job is lost or doubled on its way into the batch, and that the batch fits. */
static void check(const dr_scheduler *s, const dr_batch *batch, size_t waiting_before, int room)
{
    dr_assert(s->waiting + (size_t)batch->jobs == waiting_before);
    dr_assert(batch->jobs >= 1 && batch->jobs <= batch->samples);
    dr_assert(batch->samples <= room || batch->jobs == 1);
}

dr_batch dr_scheduler_next(dr_scheduler *s, int64_t now_ns, dr_samples_max_fn samples_max, void *arg)
{
    const size_t waiting_before = s->waiting;
    dr_batch batch = expired(s, now_ns);
    const dr_waiting_job *lead;
    int room;

    if (batch.decision == DR_EXPIRE)
        return batch;
    lead = most_urgent(s);
    if (!lead)
        return batch;
    batch.decision = DR_RUN_BATCH;
    batch.key = lead->key;
    room = samples_max(arg, &batch.key);
    dr_assert(room >= 1);
    move_to_batch(s, (size_t)(lead - s->job),
                  &batch); /* it goes first, even if jobs with its key are older */
    fill(s, &batch, room);
    check(s, &batch, waiting_before, room);
    return batch;
}

bool dr_scheduler_remove(dr_scheduler *s, const void *job)
{
    for (size_t i = 0; i < s->waiting; i++)
        if (s->job[i].job == job) {
            take_out(s, i);
            return true;
        }
    return false;
}

size_t dr_scheduler_waiting(const dr_scheduler *s)
{
    return s->waiting;
}
