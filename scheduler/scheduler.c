/* scheduler.c - the first policy: the most urgent job leads, its equals go with it.
 *
 * Waiting jobs stand in one array in order of arrival.  A batch is: the job of highest
 * priority, oldest first, and then, in the same order, every job with its key that still fits.
 * A job whose deadline has passed never runs: it is handed out as EXPIRE before anything else. */
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
    return DR_OK;
}

static void take_out(dr_scheduler *s, size_t i)
{
    s->waiting--;
    memmove(&s->job[i], &s->job[i + 1], (s->waiting - i) * sizeof(s->job[0]));
}

bool dr_batch_key_equal(const dr_batch_key *a, const dr_batch_key *b)
{
    return a->alone == b->alone && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

static dr_batch expired(dr_scheduler *s, int64_t now_ns)
{
    dr_batch batch = { .decision = DR_IDLE };

    for (size_t i = 0; i < s->waiting && batch.jobs < DR_BATCH_JOBS_MAX;) {
        if (s->job[i].deadline_ns > now_ns) {
            i++;
            continue;
        }
        batch.decision = DR_EXPIRE;
        batch.job[batch.jobs++] = s->job[i].job;
        take_out(s, i);
    }
    return batch;
}

/* The job that the next batch is built around: NULL where none waits. */
static const dr_waiting_job *most_urgent(const dr_scheduler *s)
{
    const dr_waiting_job *best = NULL;

    for (size_t i = 0; i < s->waiting; i++)
        if (!best || s->job[i].priority > best->priority)
            best = &s->job[i];
    return best;
}

dr_batch dr_scheduler_next(dr_scheduler *s, int64_t now_ns, dr_samples_max_fn samples_max, void *arg)
{
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
    /* The lead goes first even where it stands behind less urgent equals. */
    for (size_t i = (size_t)(lead - s->job); batch.jobs == 0 || i < s->waiting;) {
        const dr_waiting_job *job = &s->job[i];
        const bool fits = batch.samples + job->samples <= room || batch.jobs == 0;

        if (!dr_batch_key_equal(&job->key, &batch.key) || !fits || batch.jobs == DR_BATCH_JOBS_MAX) {
            i++;
            continue;
        }
        batch.job[batch.jobs++] = job->job;
        batch.samples += job->samples;
        take_out(s, i);
        if (batch.jobs == 1)
            i = 0; /* and now its equals, from the oldest on */
    }
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
