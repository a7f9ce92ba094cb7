/* field_values.h - values for any field of a job, so that a test covers fields that are added later. */
#ifndef DR_TESTS_WORKER_JOBS_FIELD_VALUES_H
#define DR_TESTS_WORKER_JOBS_FIELD_VALUES_H

#include "worker/jobs/job_fields.h"

#include <string.h>

enum { FIELD_VALUES_MAX = 16 };

/* Fill `value` with values that the field may have; at least two of them differ.  Returns how many. */
static inline int field_values(const dr_job_field *field, dr_field_value value[FIELD_VALUES_MAX])
{
    int count = 0;

    switch (field->type) {
    case DR_FIELD_NAME:
    case DR_FIELD_FOLDER:
    case DR_FIELD_TEXT:
        for (const char *text = "abc"; *text; text++)
            value[count++] = (dr_field_value){ DR_VALUE_STRING, .string = { text, strlen(text) } };
        break;
    case DR_FIELD_INT:
    case DR_FIELD_TIME:
        value[count++] = (dr_field_value){ DR_VALUE_INTEGER, .integer = (int64_t)field->max };
        value[count++] = (dr_field_value){ DR_VALUE_INTEGER, .integer = (int64_t)field->min };
        value[count - 1].integer += field->type == DR_FIELD_TIME; /* 0: none */
        break;
    case DR_FIELD_SEED:
        value[count++] = (dr_field_value){ DR_VALUE_SEED, .seed = 0 };
        value[count++] = (dr_field_value){ DR_VALUE_SEED, .seed = 1ull << 32 };
        value[count++] = (dr_field_value){ DR_VALUE_SEED, .seed = UINT64_MAX };
        break;
    case DR_FIELD_REAL:
        value[count++] = (dr_field_value){ DR_VALUE_REAL, .real = field->max };
        value[count++] = (dr_field_value){ DR_VALUE_REAL, .real = field->min };
        value[count++] = (dr_field_value){ DR_VALUE_REAL, .real = (field->alike_to + field->max) / 2 };
        break;
    case DR_FIELD_BOOL:
        value[count++] = (dr_field_value){ DR_VALUE_BOOL, .boolean = false };
        value[count++] = (dr_field_value){ DR_VALUE_BOOL, .boolean = true };
        break;
    case DR_FIELD_CHOICE:
        for (int i = field->choices_from; i < field->choices_to; i++) {
            const char *name = field->choice(i);
            dr_assert(count < FIELD_VALUES_MAX);
            value[count++] = (dr_field_value){ DR_VALUE_STRING, .string = { name, strlen(name) } };
        }
        break;
    }
    return count;
}

/* Does the job hold this value? */
static inline bool field_holds(const dr_job *job, const dr_job_field *field, const dr_field_value *value)
{
    const dr_field_value held = dr_job_get(job, field);

    if (held.kind != value->kind)
        return false;
    switch (held.kind) {
    case DR_VALUE_NONE:
        return true;
    case DR_VALUE_INTEGER:
        return held.integer == value->integer;
    case DR_VALUE_SEED:
        return held.seed == value->seed;
    case DR_VALUE_REAL:
        return held.real == value->real;
    case DR_VALUE_BOOL:
        return held.boolean == value->boolean;
    case DR_VALUE_STRING:
        return strcmp(held.string.bytes, value->string.bytes) == 0;
    }
    return false;
}

#endif
