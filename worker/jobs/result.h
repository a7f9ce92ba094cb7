/* result.h - what became of a job: pictures, or an error. */
#ifndef DR_WORKER_JOBS_RESULT_H
#define DR_WORKER_JOBS_RESULT_H

#include "worker/jobs/job.h"
#include "worker/jobs/warnings.h"

typedef struct dr_picture {
    void *bytes; /* encoded; owned */
    size_t size;
    dr_picture_format format;
    uint64_t seed;
    int width, height; /* pixels */
    char sha256[65];   /* hex, of bytes */
} dr_picture;

typedef struct dr_result {
    dr_job *job;        /* owned; what was used stands in it (seed drawn, sampler chosen) */
    dr_error error;     /* status DR_OK: pictures; else none */
    dr_refusal refusal; /* with DR_EINVAL */
    bool device_lost;   /* with DR_EDEVICE: while it ran, and not before */
    bool brief;         /* as a message it says no more than id, state and error: there is no room */
    int pictures;
    dr_picture picture[DR_IMAGES_MAX];
    char model_fingerprint[65];           /* "" where no model was used */
    char arithmetic[DR_ARITHMETIC_BYTES]; /* the engine's; "" where none was used */
    dr_warnings warnings;
    int batch_samples;                                   /* how many shared the pass */
    int64_t queued_ns, denoise_ns, decode_ns, encode_ns; /* how long each took */
} dr_result;

/* Takes job. */
dr_result *dr_result_create(dr_job *job);
dr_result *dr_result_failed(dr_job *job, const dr_error *err, const dr_refusal *refusal /* or NULL */);
void dr_result_free(dr_result *result); /* NULL is allowed */

/* The bytes of a Kafka message, malloc'ed; and back (darkroom collect).  worker: the name of the one
 * that made it.  A decoded result's job is only what the message says about it. */
dr_status dr_result_encode(const dr_result *result, const char *worker, void **bytes, size_t *size,
                           dr_error *err);
dr_status dr_result_decode(dr_result **out, const void *bytes, size_t size, dr_error *err);

/* What a picture's file is called: "fox.png"; of several "fox@0.png", ...: @ is in no id. */
enum { DR_PICTURE_NAME_MAX = DR_NAME_BYTES_MAX + 16 };
void dr_picture_file_name(char name[DR_PICTURE_NAME_MAX], const dr_job *job, int image);

/* "succeeded", "failed", "canceled", "expired". */
const char *dr_result_state_name(const dr_result *result);

/* One line of results.jsonl, malloc'ed, without the newline; NULL without memory.
 * `files`: names of the pictures' files, one each. */
char *dr_result_json(const dr_result *result, const char *const *files);

#endif
