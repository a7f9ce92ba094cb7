/* job.h - one job, decoded and checked, whatever it came as.
 *
 *     bytes from Kafka    dr_job_decode()   \
 *     a line of JSON      dr_job_parse()     > dr_job_set() for each field, then dr_job_complete()
 *     flags of a person   dr_job_set_text() /
 *
 * All three go through one table of fields (worker/jobs/job_fields.h).  So a job means the same, and is
 * refused in the same words, wherever it came from.
 *
 * A job belongs to whoever holds it: no call here keeps one.  Any thread, one at a time. */
#ifndef DR_WORKER_JOBS_JOB_H
#define DR_WORKER_JOBS_JOB_H

#include "base/error.h"
#include "base/limits.h"
#include "worker/jobs/picture_format.h"

#include <darkroom/darkroom.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a job was read, so that its result can be committed together with its offset.  Kafka only. */
typedef struct dr_job_origin {
    int32_t partition; /* -1: not from Kafka */
    int64_t offset;
    int incarnation; /* of the topic (worker/delivery/books.h): elsewhere the same offset is another job */
} dr_job_origin;

typedef struct dr_job {
    char *id;    /* never NULL nor empty; safe as a file name once the job is complete */
    char *model; /* name of a folder in the folder of models */
    dr_task task;
    char *prompt; /* UTF-8, of prompt_bytes bytes and a 0 */
    size_t prompt_bytes;
    char *negative_prompt; /* "" where the job says none */
    size_t negative_prompt_bytes;
    int width, height; /* pixels; 0: the model's own size, until dr_engine_prepare() fills it in */
    int steps;
    float guidance_scale;
    dr_sampler sampler; /* DR_SAMPLER_DEFAULT: the model's own, until dr_engine_prepare() fills it in */
    uint64_t seed;      /* of the first image: dr_job_image_seed() */
    int images;         /* 1 .. DR_IMAGES_MAX */
    dr_picture_format format;
    int quality;          /* of JPEG and WebP, 1 .. 100 */
    int priority;         /* a higher one goes first */
    int64_t deadline_ms;  /* Unix time; 0: none */
    bool report_events;   /* the events topic is told when it is queued, starts, steps and has finished */
    char *correlation_id; /* copied into the result; NULL: none */
    char *reply_topic;    /* where the result goes; NULL: the worker's results topic */
    uint32_t given;       /* bit i: field i of the table was given, and is no default */
    bool complete;        /* dr_job_complete() has succeeded: every field above holds */
    dr_job_origin origin;
    int64_t sent_ms;   /* the timestamp of its message, Unix time; 0: unknown */
    int device_losses; /* devices that were lost while it ran; from 1 on it runs alone */
} dr_job;

/* Why a job was refused, in the words of a failed result.  Both texts are UTF-8 and may be "". */
typedef struct dr_refusal {
    char field[64];    /* the field's name in job.proto; "" where no single field is to blame */
    char allowed[160]; /* "1..150", "a multiple of 8 from 64 to 2048", a list of names */
} dr_refusal;

/* A job from the bytes of a Kafka message, checked and complete.
 *
 *     DR_OK                        *out can be run
 *     DR_EINVAL, DR_EUNSUPPORTED   *out has what a failed result needs: id, correlation_id, reply_topic, and
 *                                  all that was read before the fault.  *refusal says what is wrong
 *     DR_EFORMAT                   *out is NULL.  The bytes are no job, or a job without an id to answer to:
 *                                  they go to the dead-letter topic
 *     DR_ENOMEM                    *out is NULL
 *
 * A job in *out is the caller's, to be ended with dr_job_free(). */
dr_status dr_job_decode(dr_job **out, const void *bytes, size_t size, dr_refusal *refusal, dr_error *err);

/* A line of JSON, all of it borrowed. */
typedef struct dr_job_line {
    const char *text;
    size_t size;
    const char *fallback_id; /* the id of a line that has none; NULL: a line must have one */
    const dr_job
        *defaults; /* fields that a line need not repeat: those that this job was given; NULL: none */
} dr_job_line;

/* A job from one line of JSON, which has the fields' names in job.proto as its keys.  Fields of other
 * tasks stand beside the common ones.  An unknown key is refused by its name.  Returns what
 * dr_job_decode() does. */
dr_status dr_job_parse(dr_job **out, const dr_job_line *line, dr_refusal *refusal, dr_error *err);

/* The bytes of a Kafka message for a job: the fields that were given, and no defaults.  *bytes is
 * malloc'ed and the caller's.  DR_ENOMEM. */
dr_status dr_job_encode(const dr_job *job, void **bytes, size_t *size, dr_error *err);

/* A job with nothing but defaults, to be filled field by field; NULL without memory.  The caller's. */
dr_job *dr_job_create(void);
/* End a job and its strings; NULL is allowed. */
void dr_job_free(dr_job *job);

/* Check what no single field can tell (required fields, the task), and fill in what is absent: texts as
 * "", and a seed that is drawn from the id, so that a job that is run again after a crash gives the same
 * pictures.  Afterwards job->complete is set.  DR_EINVAL or DR_EUNSUPPORTED with *refusal (NULL is
 * allowed); DR_ENOMEM. */
dr_status dr_job_complete(dr_job *job, dr_refusal *refusal, dr_error *err);

#endif
