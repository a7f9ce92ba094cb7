/* job_json.h - a field's value as JSON, for those who write lines about jobs. */
#ifndef DR_WORKER_JOB_JSON_H
#define DR_WORKER_JOB_JSON_H

#include "worker/job_fields.h"

#include <jansson.h>

/* As dr_job_parse() reads it back.  A new reference; NULL where the field holds nothing. */
json_t *dr_job_field_json(const dr_job *job, const dr_job_field *field);

/* A number, or from 2^63 on, where jansson has none, a string. */
json_t *dr_seed_json(uint64_t seed);

#endif
