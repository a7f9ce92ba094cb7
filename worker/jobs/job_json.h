/* job_json.h - the fields of a job as JSON values, for those who write lines about jobs.  Any thread. */
#ifndef DR_WORKER_JOBS_JOB_JSON_H
#define DR_WORKER_JOBS_JOB_JSON_H

#include "worker/jobs/job_fields.h"

#include <jansson.h>

/* What the field holds, as dr_job_parse() reads it back.  A new reference.  NULL where the field holds
 * nothing or memory is short. */
json_t *dr_job_field_json(const dr_job *job, const dr_job_field *field);

/* Put a value into an object under a name.  Takes the value.  False where it is NULL or memory is short:
 * then the caller gives the whole line up, for no line is written in part. */
bool dr_json_put(json_t *object, const char *name, json_t *value);

/* Put a field of the job into an object under its name; a field that holds nothing is left out.  False
 * where memory is short. */
bool dr_job_put_field(json_t *object, const dr_job *job, const dr_job_field *field);

/* A seed as a number; from 2^63 on, which jansson has no number for, as a string.  A new reference; NULL
 * without memory. */
json_t *dr_seed_json(uint64_t seed);

#endif
