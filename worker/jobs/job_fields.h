/* job_fields.h - the fields of a job: one row for each, and all that is known about it.
 *
 *     name     type    offset   draws   batches   range      default   placeholder   help
 *     steps    INT     .steps   yes     yes       1 .. 150   50        COUNT         "Denoising steps"
 *
 * The rows are the only list of fields.  Everything else is derived from them: the checks and their
 * messages, the defaults, reading and writing JSON, CSV and protobuf, the flags of `submit` and `render`
 * and their --help, docs/reference.md, the JSON in a picture's file, the null device's pictures, and
 * which jobs share a batch. Comments in job.proto repeat the numbers for its readers; a test compares
 * them.
 *
 * The table never changes: any thread. */
#ifndef DR_WORKER_JOBS_JOB_FIELDS_H
#define DR_WORKER_JOBS_JOB_FIELDS_H

#include "worker/jobs/job.h"

#include <stdio.h>

typedef enum dr_field_type {
    DR_FIELD_NAME,   /* char *: an id or a topic, which dr_name_valid() allows */
    DR_FIELD_FOLDER, /* char *: a folder's own name, which dr_folder_name_valid() allows */
    DR_FIELD_TEXT,   /* char *: UTF-8 without NUL, at most max bytes */
    DR_FIELD_INT,    /* int */
    DR_FIELD_TIME,   /* int64_t: Unix time in milliseconds */
    DR_FIELD_SEED,   /* uint64_t */
    DR_FIELD_REAL,   /* float */
    DR_FIELD_BOOL,   /* bool */
    DR_FIELD_CHOICE, /* an enum: one of choice(choices_from) .. choice(choices_to - 1) */
} dr_field_type;

/* What a row decides.  No row may leave it open: a test names the row that does. */
typedef enum dr_field_decision { DR_FIELD_UNDECIDED, DR_FIELD_YES, DR_FIELD_NO } dr_field_decision;

typedef struct dr_job_field {
    const char *name; /* in job.proto, and in JSON */
    dr_field_type type;
    size_t offset; /* in dr_job */

    dr_field_decision draws; /* it changes a picture's pixels: so it is in the text of the picture's file */
    double alike_to; /* REAL that draws: all values up to this one draw one picture; 0: no two values do */
    dr_field_decision batches; /* jobs must agree on it to share a batch */

    bool required;
    double min, max;    /* of numbers; of NAME and TEXT max alone, in bytes */
    int multiple_of;    /* INT: the value is a multiple of it; 0: any value */
    double preset;      /* the default of a number or a choice */
    const char *absent; /* what absence means, where preset does not say it; NULL: preset does */
    const char *(*choice)(int value); /* CHOICE: the name of a value */
    int choices_from, choices_to;
    const char *placeholder; /* the value in --help: "COUNT"; NULL: a BOOL, whose flag has no value */
    const char *help;
} dr_job_field;

extern const dr_job_field dr_job_fields[];
extern const int dr_job_field_count;
enum { DR_JOB_FIELDS_MAX = 32 }; /* dr_job.given has a bit for each */

/* The row of that name; NULL: no field has it. */
const dr_job_field *dr_job_field_find(const char *name);

/* Is it a string, of one of three types? */
bool dr_job_field_is_string(const dr_job_field *field);

/* --- a row in words -------------------------------------------------------------------- */

/* What is allowed: "1..150", "a multiple of 8 from 64 to 2048", "png, jpeg, webp", ... */
void dr_job_field_allowed(const dr_job_field *field, char *text, size_t size);
/* The default: "50", "the model's own", "png"; "" where there is none. */
void dr_job_field_preset(const dr_job_field *field, char *text, size_t size);

/* --- values into and out of a job (job_values.c) ------------------------------------------ */

/* A value on its way into a field or out of it. */
typedef struct dr_field_value {
    enum {
        DR_VALUE_NONE,
        DR_VALUE_INTEGER,
        DR_VALUE_SEED,
        DR_VALUE_REAL,
        DR_VALUE_BOOL,
        DR_VALUE_STRING
    } kind;
    union {
        int64_t integer;
        uint64_t seed; /* an integer that may be 2^63 or more */
        double real;
        bool boolean;
        struct {
            const char *bytes; /* borrowed */
            size_t size;
        } string;
    };
} dr_field_value;

/* Check a value against its row and put it into the job, which copies strings.  No value and an empty
 * string leave the job as it is.  A real number that is whole counts as a whole number. DR_EINVAL where
 * the value is not allowed: *refusal (NULL is allowed) says why, and the job is unchanged.  DR_ENOMEM. */
dr_status dr_job_set(dr_job *job, const dr_job_field *field, const dr_field_value *value, dr_refusal *refusal,
                     dr_error *err);
/* The same from text as people and programs write it: "512", "512.0", "7.5", "true", "True", "euler". */
dr_status dr_job_set_text(dr_job *job, const dr_job_field *field, const char *text, dr_refusal *refusal,
                          dr_error *err);

/* Give the job every field that `defaults` was given and the job was not.  DR_ENOMEM. */
dr_status dr_job_set_defaults(dr_job *job, const dr_job *defaults, dr_error *err);

/* Was the field given, or is its value a default? */
bool dr_job_given(const dr_job *job, const dr_job_field *field);
/* What the field holds.  A choice is its name.  An absent string, and a size or sampler that the model
 * has not filled in yet, is DR_VALUE_NONE.  Strings are the job's. */
dr_field_value dr_job_get(const dr_job *job, const dr_job_field *field);
/* Where the job holds the field: a value of the C type that stands beside its dr_field_type.  The job's. */
const void *dr_job_member(const dr_job *job, const dr_job_field *field);

/* The seed of image number `image`, 0 to images - 1: the job's seed plus the number, modulo 2^64. */
uint64_t dr_job_image_seed(const dr_job *job, int image);

/* What image number `image` of a complete job asks of the model.  *request borrows the job's strings.
 * All its bytes are set, so that two requests can be compared. */
void dr_job_request(dr_text_to_image *request, const dr_job *job, int image);

/* Refuse a job for a fault that no row knows: fill *refusal (NULL is allowed) and *err, and return
 * status.  The error reads "FIELD: TEXT; allowed: ALLOWED"; field and allowed may be "". */
dr_status dr_job_refuse(dr_refusal *refusal, dr_error *err, dr_status status, const char *field,
                        const char *allowed, const char *format, ...)
    __attribute__((format(printf, 6, 7), cold));

#endif
