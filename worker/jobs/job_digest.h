/* job_digest.h - a job's fields, summed up as a SHA-256.
 *
 * The columns `draws` and `batches` of the field table (worker/jobs/job_fields.h) say which fields go in,
 * so a field that is added to the table is in the digests without a change here. Any thread; no call
 * fails or keeps anything. */
#ifndef DR_WORKER_JOBS_JOB_DIGEST_H
#define DR_WORKER_JOBS_JOB_DIGEST_H

#include "worker/jobs/job.h"

enum { DR_JOB_DIGEST_BYTES = 32 };

typedef struct dr_job_digest {
    unsigned char bytes[DR_JOB_DIGEST_BYTES];
} dr_job_digest;

/* Of the fields that draw, with the seed of image number `image`.  Two images have equal digests if and
 * only if their jobs ask for the same picture.  The job is complete and prepared: it names its size and
 * sampler. */
dr_job_digest dr_job_picture_digest(const dr_job *job, int image);

/* Of the fields that batch.  Two jobs may share a batch if and only if their digests are equal.  The job is
 * complete.  A size that the model has not filled in yet differs from every size that was given. */
dr_job_digest dr_job_batch_digest(const dr_job *job);

#endif
