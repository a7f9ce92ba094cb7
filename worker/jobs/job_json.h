/* job_json.h - a field's value as JSON, for those who write lines about jobs. */
#ifndef DR_WORKER_JOBS_JOB_JSON_H
#define DR_WORKER_JOBS_JOB_JSON_H

#include "worker/jobs/job_fields.h"

#include <jansson.h>

/* As dr_job_parse() reads it back.  A new reference; NULL where the field holds nothing, or memory lacks. */
json_t *dr_job_field_json(const dr_job *job, const dr_job_field *field);

/* Takes value; false where it is NULL or memory lacks, for what is written is whole or not at all. */
bool dr_json_put(json_t *object, const char *name, json_t *value);

/* The field under its name.  One that holds nothing needs no place; false where memory lacks. */
bool dr_job_put_field(json_t *object, const dr_job *job, const dr_job_field *field);

/* A number, or from 2^63 on, where jansson has none, a string. */
json_t *dr_seed_json(uint64_t seed);

#endif
