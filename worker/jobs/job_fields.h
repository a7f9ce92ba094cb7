/* job_fields.h - the fields of a job: one row each, and everything that is said about them.
 *
 *     name     type    offset   range      default   placeholder   help
 *     steps    INT     .steps   1 .. 150   50        COUNT         "Denoising steps"
 *
 * From the rows come: the checks and their messages, the defaults, reading and writing JSON and
 * protobuf, the flags of `submit` and their --help.  The comments in job.proto say the same
 * numbers; a test compares them. */
#ifndef DR_WORKER_JOBS_JOB_FIELDS_H
#define DR_WORKER_JOBS_JOB_FIELDS_H

#include "worker/jobs/job.h"

#include <stdio.h>

typedef enum dr_field_type {
    DR_FIELD_NAME,   /* char *: an id or a topic, of characters that are safe in file names */
    DR_FIELD_FOLDER, /* char *: a folder's own name: dr_folder_name_valid() */
    DR_FIELD_TEXT,   /* char *: UTF-8 without NUL, at most max bytes */
    DR_FIELD_INT,    /* int */
    DR_FIELD_TIME,   /* int64_t: Unix time in milliseconds */
    DR_FIELD_SEED,   /* uint64_t */
    DR_FIELD_REAL,   /* float */
    DR_FIELD_BOOL,   /* bool */
    DR_FIELD_CHOICE, /* an enum: one of choice(choices_from) .. choice(choices_to - 1) */
} dr_field_type;

/* What a row decides.  None may leave it open: a test names the row that does. */
typedef enum dr_field_decision { DR_FIELD_UNDECIDED, DR_FIELD_YES, DR_FIELD_NO } dr_field_decision;

typedef struct dr_job_field {
    const char *name; /* the proto's */
    dr_field_type type;
    size_t offset;           /* in dr_job */
    dr_field_decision draws; /* it changes a picture's pixels: it is in the picture's metadata and digest */
    double
        alike_to; /* REAL that draws: all values up to this one draw the same picture; 0: no two values do */
    dr_field_decision batches; /* jobs must agree on it to share a batch */
    bool required;
    double min, max;    /* of numbers; max of NAME and TEXT: bytes */
    int multiple_of;    /* INT; 0: any */
    double preset;      /* the default of a number or choice */
    const char *absent; /* what absence means where preset does not say it; NULL: it does */
    const char *(*choice)(int value);
    int choices_from, choices_to;
    const char *placeholder; /* of the value in --help, "COUNT"; NULL: a BOOL, which needs no value */
    const char *help;
} dr_job_field;

extern const dr_job_field dr_job_fields[];
extern const int dr_job_field_count;
enum { DR_JOB_FIELDS_MAX = 32 }; /* dr_job.given has a bit for each */

const dr_job_field *dr_job_field_find(const char *name); /* NULL: no such field */

/* A value on its way into or out of a field. */
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
        uint64_t seed; /* an integer that may be beyond 2^63 */
        double real;
        bool boolean;
        struct {
            const char *bytes; /* borrowed */
            size_t size;
        } string;
    };
} dr_field_value;

/* Check a value against its row and put it into the job (strings are copied).  DR_EINVAL with
 * *refusal filled, and the job unchanged, where it is not allowed.  An empty string is the same as
 * no value, and a real number that is whole the same as the whole number. */
dr_status dr_job_set(dr_job *job, const dr_job_field *field, const dr_field_value *value, dr_refusal *refusal,
                     dr_error *err);
/* The same from text as a person or a program writes it: "512", "512.0", "7.5", "true", "True", "euler". */
dr_status dr_job_set_text(dr_job *job, const dr_job_field *field, const char *text, dr_refusal *refusal,
                          dr_error *err);

/* Every field that `defaults` was given, but for those that the job was given itself.  DR_ENOMEM. */
dr_status dr_job_set_defaults(dr_job *job, const dr_job *defaults, dr_error *err);

/* Where the job holds the field: a value of the C type that stands beside its dr_field_type.  Borrowed. */
const void *dr_job_member(const dr_job *job, const dr_job_field *field);
/* What the field holds: choices as their names, absent strings and unknown sizes as DR_VALUE_NONE. */
dr_field_value dr_job_get(const dr_job *job, const dr_job_field *field);
bool dr_job_given(const dr_job *job, const dr_job_field *field);

/* Fill *request with what image number `image` of a complete job asks of the model.  Borrows the job's strings.
 * Every byte is set, so that two requests can be compared. */
void dr_job_request(dr_text_to_image *request, const dr_job *job, int image);

/* "1..150", "a multiple of 8 from 64 to 2048", "png, jpeg, webp", ... */
void dr_job_field_allowed(const dr_job_field *field, char *text, size_t size);
/* "50", "the model's own", "png", or "" where there is none. */
void dr_job_field_preset(const dr_job_field *field, char *text, size_t size);

/* Fill *refusal and *err and return status: for faults that the rows do not know. */
dr_status dr_job_refuse(dr_refusal *refusal, dr_error *err, dr_status status, const char *field,
                        const char *allowed, const char *format, ...)
    __attribute__((format(printf, 6, 7), cold));

#endif
