/* job.h - a job, from whatever it came as, decoded and checked.
 *
 *     bytes from Kafka  -> dr_job_decode()  \
 *     a line of JSON    -> dr_job_parse()    > dr_job_set() ... dr_job_complete() -> dr_job
 *     flags of a person -> dr_job_set_text()/
 *
 * All three go through one table of fields with ranges and defaults (worker/jobs/job_fields.h), so
 * a job means the same and is refused in the same words wherever it came from. */
#ifndef DR_WORKER_JOBS_JOB_H
#define DR_WORKER_JOBS_JOB_H

#include "base/error.h"
#include "base/limits.h"

#include <darkroom/darkroom.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dr_picture_format { DR_PNG, DR_JPEG, DR_WEBP, DR_PICTURE_FORMATS } dr_picture_format;

/* "png", "jpeg", "webp"; and "image/png", ... */
const char *dr_picture_format_name(dr_picture_format format);
const char *dr_picture_media_type(dr_picture_format format);

/* Where a job was read, so that its result can be committed with it.  Kafka only. */
typedef struct dr_job_origin {
    int32_t partition; /* -1: not from Kafka */
    int64_t offset;
    int incarnation; /* of the topic (worker/delivery/books.h): the same offset of another one is another job */
} dr_job_origin;

typedef struct dr_job {
    char *id;    /* never NULL nor empty; a safe file name once the job is complete */
    char *model; /* name of a folder below the models directory */
    dr_task task;
    char *prompt; /* UTF-8; prompt_bytes long, and 0-terminated */
    size_t prompt_bytes;
    char *negative_prompt; /* "" where absent */
    size_t negative_prompt_bytes;
    int width, height; /* pixels; 0: the model's own size, until dr_engine_prepare() says which */
    int steps;
    float guidance_scale;
    dr_sampler sampler; /* DR_SAMPLER_DEFAULT until dr_engine_prepare() says which */
    uint64_t seed;      /* of the first image; image i has seed + i, modulo 2^64 */
    int images;         /* 1 .. DR_IMAGES_MAX */
    dr_picture_format format;
    int quality;          /* JPEG and WebP, 1..100 */
    int priority;         /* higher goes first */
    int64_t deadline_ms;  /* Unix time; 0: none */
    bool report_events;   /* queued, started, step, finished go to the events topic */
    char *correlation_id; /* copied into the result; NULL: none */
    char *reply_topic;    /* where the result goes; NULL: the worker's results topic */
    uint32_t given;       /* bit i: row i of the field table was said, not defaulted */
    bool complete;        /* dr_job_complete() was happy: every field above holds */
    dr_job_origin origin;
    int64_t sent_ms;   /* its message's timestamp, Unix time; 0: unknown */
    int device_losses; /* devices that were lost while it ran; more than 0: it runs alone */
} dr_job;

/* Why a job was refused, in the words of a failed result.  Both are UTF-8 and may be "". */
typedef struct dr_refusal {
    char field[64];    /* the proto field's name; "" where no single field is to blame */
    char allowed[160]; /* "1..150", "a multiple of 8 from 64 to 2048", or a list of names */
} dr_refusal;

/* From the bytes of a Kafka message, checked and complete.
 *
 *     DR_OK                        *out can be run
 *     DR_EINVAL, DR_EUNSUPPORTED   *out has what a failed result needs (id, correlation_id,
 *                                  reply_topic, what was read before the fault); *refusal says why
 *     DR_EFORMAT, DR_ENOMEM        *out is NULL.  Not a Job, or one without an id to answer to:
 *                                  the dead-letter topic
 *
 * Whenever *out is not NULL it is the caller's. */
dr_status dr_job_decode(dr_job **out, const void *bytes, size_t size, dr_refusal *refusal, dr_error *err);

/* From one line of JSON with the proto's field names (the task's own fields beside the others,
 * input images as paths); the same answers.  Unknown fields are refused, by name.  fallback_id is
 * the id of a line that has none; NULL: the id is required. */
dr_status dr_job_parse(dr_job **out, const char *line, size_t size, const char *fallback_id,
                       dr_refusal *refusal, dr_error *err);
/* The same, where a line need not say what `defaults` was given (NULL: nothing). */
dr_status dr_job_parse_with(dr_job **out, const char *line, size_t size, const char *fallback_id,
                            const dr_job *defaults, dr_refusal *refusal, dr_error *err);

/* To the bytes of a Kafka message, malloc'ed: what was given, and nothing that was defaulted. */
dr_status dr_job_encode(const dr_job *job, void **bytes, size_t *size, dr_error *err);

/* An empty job, for filling field by field; NULL without memory. */
dr_job *dr_job_create(void);
void dr_job_free(dr_job *job); /* NULL is allowed */

/* Required fields, contradictions; fills in defaults, and draws a seed where there is none: from the
 * id, so that a job that is run again after a crash gives the same pictures. */
dr_status dr_job_complete(dr_job *job, dr_refusal *refusal, dr_error *err);

/* The seed of image number `image`, 0 to images - 1. */
uint64_t dr_job_image_seed(const dr_job *job, int image);

#endif
