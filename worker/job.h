/* job.h - a job, from whatever it came as, decoded and checked.
 *
 * Jobs come as protobuf from Kafka (worker/job_proto.c) and as JSON lines from files
 * (worker/job_json.c).  Both fill this struct and both go through dr_job_check(), which
 * knows one table of fields with ranges and defaults (worker/job_fields.c). */
#ifndef DR_WORKER_JOB_H
#define DR_WORKER_JOB_H

#include "base/error.h"
#include "model/darkroom.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dr_picture_format { DR_PNG, DR_JPEG, DR_WEBP } dr_picture_format;

/* Where a job was read, so that its result can be committed with it.  Kafka only. */
typedef struct dr_job_origin {
    int32_t partition; /* -1: not from Kafka */
    int64_t offset;
    void *lease; /* the source's: which assignment it was fetched under */
} dr_job_origin;

typedef struct dr_job {
    char *id;      /* never empty */
    char *model;   /* name of a folder below the models directory */
    dr_task task;
    char *prompt;          /* UTF-8; prompt_bytes long, and 0-terminated */
    size_t prompt_bytes;
    char *negative_prompt; /* "" where absent */
    size_t negative_prompt_bytes;
    int width, height;     /* pixels */
    int steps;
    float guidance_scale;
    dr_sampler sampler;
    bool has_seed;  /* false: one was drawn */
    uint64_t seed;  /* of the first image; image i has seed + i */
    int images;
    dr_picture_format format;
    int quality;    /* JPEG and WebP, 1..100 */
    int priority;
    int64_t deadline_ms; /* Unix time; 0: none */
    bool report_events;  /* queued, started, step, finished go to the events topic */
    char *correlation_id; /* copied into the result; NULL: none */
    dr_job_origin origin;
} dr_job;

/* Why a job was refused, in the words of a failed result. */
typedef struct dr_refusal {
    const char *field; /* the proto field's name; "" where no single field is to blame */
    char allowed[160]; /* "1..150", "a multiple of 8 from 64 to 2048", or a list of names; "" */
} dr_refusal;

/* From the bytes of a Kafka message.  DR_EFORMAT: not a Job (goes to the dead-letter topic).
 * On success *out is the caller's; it may still be impossible, see dr_job_check(). */
dr_status dr_job_decode(dr_job **out, const void *bytes, size_t size, dr_error *err);

/* From one line of JSON with the proto's field names.  Unknown fields are refused, by name.
 * On DR_EINVAL *refusal names the field. */
dr_status dr_job_parse(dr_job **out, const char *line, size_t size, dr_refusal *refusal, dr_error *err);

/* To the bytes of a Kafka message, malloc'ed (dr_submit). */
dr_status dr_job_encode(const dr_job *job, void **bytes, size_t *size, dr_error *err);

/* Ranges and contradictions; fills in defaults and draws a seed where there is none.  DR_EINVAL with
 * *refusal filled where the job is impossible. */
dr_status dr_job_check(dr_job *job, dr_refusal *refusal, dr_error *err);

void dr_job_free(dr_job *job); /* NULL is allowed */

#endif
