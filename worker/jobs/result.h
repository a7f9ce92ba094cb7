/* result.h - the answer to a job: its pictures, or why there are none.  Any thread, one at a time for
 * each result. */
#ifndef DR_WORKER_JOBS_RESULT_H
#define DR_WORKER_JOBS_RESULT_H

#include "worker/jobs/job.h"
#include "worker/jobs/warnings.h"

/* A picture in one format and size, as the bytes of a file. */
typedef struct dr_rendition {
    void *bytes; /* owned by the result */
    size_t size;
    dr_picture_format format;
    uint64_t seed;
    int width, height; /* pixels */
    char sha256[65];   /* of bytes, in hex */
} dr_rendition;

typedef struct dr_result {
    dr_job *job;    /* owned; it holds what was used: the seed that was drawn, the sampler that was chosen */
    dr_error error; /* status DR_OK: there are pictures; else there are none */
    dr_refusal refusal; /* with DR_EINVAL */
    bool device_lost;   /* with DR_EDEVICE: the device was lost while the job ran, and not before */
    bool brief;         /* as a message it has only id, state and error, for there is no room for more */
    int pictures;
    dr_rendition picture[DR_IMAGES_MAX];
    char model_fingerprint[65];           /* "" where no model was used */
    char arithmetic[DR_ARITHMETIC_BYTES]; /* dr_engine_arithmetic(); "" where no engine was used */
    dr_warnings warnings;
    int batch_samples;                                   /* how many samples its batch had; 0: it never ran */
    int64_t queued_ns, denoise_ns, decode_ns, encode_ns; /* how long each took */
} dr_result;

/* A result without pictures yet.  Takes the job.  NULL without memory: then the job is still the caller's. */
dr_result *dr_result_create(dr_job *job);
/* A failed result.  Copies *err, and *refusal if there is one (NULL: there is none).  The rest as
 * dr_result_create(). */
dr_result *dr_result_failed(dr_job *job, const dr_error *err, const dr_refusal *refusal);
/* End a result with its job and its pictures; NULL is allowed. */
void dr_result_free(dr_result *result);

/* The bytes of a Kafka message for a result.  worker: the name of the worker that made it.  *bytes is
 * malloc'ed and the caller's.  DR_ENOMEM. */
dr_status dr_result_encode(const dr_result *result, const char *worker, void **bytes, size_t *size,
                           dr_error *err);
/* And back, for `darkroom collect`.  The result's job has only the fields that the message says.  On
 * success *out is the caller's, who ends it with dr_result_free(); on failure it is NULL. DR_EFORMAT: the
 * bytes are no result.  DR_EUNSUPPORTED: a result that this version cannot read.  DR_EINVAL: a field of
 * the job is not allowed.  DR_ENOMEM. */
dr_status dr_result_decode(dr_result **out, const void *bytes, size_t size, dr_error *err);

/* The name of a picture's file: "fox.png"; of a job with several images "fox@0.png" and so on.  No id
 * holds an @. */
enum { DR_PICTURE_NAME_MAX = DR_NAME_BYTES_MAX + 16 };
void dr_picture_file_name(char name[DR_PICTURE_NAME_MAX], const dr_job *job, int image);

/* "succeeded", "failed", "canceled" or "expired".  A constant. */
const char *dr_result_state_name(const dr_result *result);

/* The result's line of results.jsonl, malloc'ed, without the newline; NULL without memory.
 * files: the names of the pictures' files, one for each. */
char *dr_result_json(const dr_result *result, const char *const *files);

#endif
