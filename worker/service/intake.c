/* intake.c - from a message of the jobs topic to a job in the pipeline.  Jobs are refused here.
 *
 *     message -> no job                       the dead-letter topic      put_dead_letter()
 *             -> a job that can't be done     a failed result            refuse_job()
 *             -> a job                        the pipeline               hand_to_pipeline()
 *
 * A job can't be done if one of its fields is wrong (worker/jobs/job_fields.c says what is allowed), if it
 * names a reply topic that the worker does not write to, or if it is canceled.  The pipeline finds out later
 * whether the model can draw the job (worker/pipeline/).
 *
 * All of this runs on the intake thread, except dr_service_models_missing(). */
#include "worker/service/service_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MEMORY_MS = 50,        /* before memory is asked for again */
    LOOK_MS = 200,         /* how soon a waiting intake sees that it is to stop */
    MODELS_LOOK_MS = 1000, /* a folder is read this often */
};

static bool may_reply_to(const dr_service *s, const char *topic)
{
    for (size_t i = 0; i < s->options.reply_topics_count; i++)
        if (strcmp(topic, s->options.reply_topics[i]) == 0)
            return true;
    return false;
}

/* Only the topics of the reply_topics setting may be named.  If the job names another topic, this also clears
 * its reply topic, so that the failed result goes to the results topic. */
static dr_status check_reply_topic(const dr_service *s, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    if (!job->reply_topic || may_reply_to(s, job->reply_topic))
        return DR_OK;
    free(job->reply_topic);
    job->reply_topic = NULL;
    snprintf(refusal->field, sizeof(refusal->field), "reply_topic");
    snprintf(refusal->allowed, sizeof(refusal->allowed), "a topic of the worker's reply_topics setting");
    return dr_fail(err, DR_EINVAL, "job %s: reply_topic: this worker does not write to that topic", job->id);
}

/* Waits a moment, in which other threads may free memory. */
static void wait_for_memory(void)
{
    const struct timespec pause = { .tv_nsec = MEMORY_MS * 1000000L };

    nanosleep(&pause, NULL);
}

/* Takes the job.  Waits until the pipeline has room for it; once the service is closing, the job is
 * dropped: it stays uncommitted for another worker. */
static void hand_to_pipeline(dr_service *s, dr_job *job)
{
    for (bool room = false; !s->closing;) {
        if (dr_pipeline_submit(s->pipeline, job))
            return;
        if (room) /* there is room, so what is missing is memory */
            wait_for_memory();
        room = dr_pipeline_wait_room(s->pipeline, LOOK_MS);
    }
    dr_books_drop(s->books, &job->origin);
    dr_job_free(job);
}

/* Takes the job, and answers it by a failed result that says which field is wrong and what is allowed. */
static void refuse_job(dr_service *s, dr_job *job, const dr_error *err, const dr_refusal *refusal)
{
    dr_result *result;

    while (!(result = dr_result_failed(job, err, refusal)) && !s->closing)
        wait_for_memory();
    if (result) {
        dr_service_log_outcome("intake", result);
        dr_publisher_put(s->publisher, result);
        return;
    }
    dr_books_drop(s->books, &job->origin);
    dr_job_free(job);
}

/* When the message was sent, in Unix milliseconds; 0 where the broker is too old to tell. */
static int64_t sent_ms(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    const int64_t ms = rd_kafka_message_timestamp(m, &type);

    return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0 ? 0 : ms;
}

/* The message is no job: it goes to the dead-letter topic as it came, with the reason. */
static void put_dead_letter(dr_service *s, rd_kafka_message_t *m, const dr_error *why)
{
    const dr_log_about about = { NULL, (int)m->partition, (long long)m->offset, dr_status_name(why->status) };

    dr_log_job(DR_LOG_INFO, "intake", &about, "a dead letter: %s", why->text);
    dr_publisher_put_dead(s->publisher, m, why);
}

/* Whether the job may run.  On failure err says why not, and *refusal names the field if there is one. */
static dr_status check_job(dr_service *s, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    const dr_status rc = check_reply_topic(s, job, refusal, err);

    if (!rc && dr_control_is_canceled(s->control, job->id, job->sent_ms))
        return dr_fail(err, DR_ECANCELED, "job %s: canceled", job->id);
    return rc;
}

/* Takes the message.  It becomes a job in the pipeline, or is answered here: by a dead letter if it is no
 * job, by a failed result if it is a job that can't be done. */
static void take_message(dr_service *s, rd_kafka_message_t *m)
{
    const dr_job_origin origin = dr_books_origin(m);
    dr_refusal refusal = { 0 }, check_refusal = { 0 };
    dr_error err, check_err;
    dr_status rc, check_rc;
    dr_job *job;

    dr_series_add(s->series.received, 1);
    while ((rc = dr_job_decode(&job, m->payload, m->len, &refusal, &err)) == DR_ENOMEM && !s->closing)
        wait_for_memory();
    if (!job && rc == DR_ENOMEM) {
        dr_books_drop(s->books, &origin);
        rd_kafka_message_destroy(m);
        return;
    }
    if (!job) {
        put_dead_letter(s, m, &err);
        return;
    }
    job->sent_ms = sent_ms(m);
    rd_kafka_message_destroy(m);
    job->origin = origin;
    job->device_losses = dr_books_losses(s->books, &origin);
    if (job->device_losses > 0)
        dr_log_warn("intake", "job %s: a device was lost while it ran, %d of at most %d times: it runs alone",
                    job->id, job->device_losses, DR_DEVICE_LOSSES_MAX);
    check_rc = check_job(s, job, &check_refusal, &check_err);
    if (rc == DR_OK && check_rc) {
        rc = check_rc;
        refusal = check_refusal;
        err = check_err;
    }
    if (rc == DR_OK)
        hand_to_pipeline(s, job);
    else
        refuse_job(s, job, &err, &refusal);
}

dr_status dr_service_models_missing(dr_service *s, dr_error *why)
{
    pthread_mutex_lock(&s->lock);
    const dr_error models = s->models;
    pthread_mutex_unlock(&s->lock);
    if (models.status)
        *why = models;
    return models.status;
}

/* Looks at the models folder now and then.  While no model can be used, jobs stay in their topic, because
 * each job that is taken would have to be refused. */
static bool has_models(dr_service *s)
{
    dr_error now = { .status = DR_OK }, before;

    if (dr_clock_ms() < s->look_ms)
        return dr_service_models_missing(s, &before) == DR_OK;
    s->look_ms = dr_clock_ms() + MODELS_LOOK_MS;
    if (dr_engine_models(&s->options.pipeline.engine, &now))
        dr_fail_within(&now, "no model can be used");
    pthread_mutex_lock(&s->lock);
    const dr_status was = s->models.status;
    s->models = now;
    pthread_mutex_unlock(&s->lock);
    if (now.status && !was)
        dr_log_warn("intake", "%s; no jobs are taken", now.text);
    else if (was && !now.status)
        dr_log_info("intake", "a model can be used now: jobs are taken");
    return now.status == DR_OK;
}

void *dr_service_intake(void *arg)
{
    const struct timespec moment = { .tv_nsec = LOOK_MS * 1000000L };
    dr_service *s = arg;

    while (!s->closing) {
        if (!has_models(s)) {
            nanosleep(&moment, NULL);
            continue;
        }
        rd_kafka_message_t *m = dr_books_next(s->books, LOOK_MS);
        if (m)
            take_message(s, m);
    }
    s->intake_done = true;
    return NULL;
}
