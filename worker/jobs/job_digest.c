#include "worker/jobs/job_digest.h"

#include "worker/jobs/job_fields.h"

#include <inttypes.h>
#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

_Static_assert(DR_JOB_DIGEST_BYTES == SHA256_DIGEST_LENGTH, "a digest is a SHA-256");

enum { NUMBERS_BYTES = 160 /* the numbers of all fields that draw take 51 at most today */ };

static void digest_text(const dr_job *job, const dr_job_field *field, unsigned char *digest)
{
    const char *text = *(char *const *)dr_job_member(job, field);

    if (!text)
        text = "";
    SHA256((const unsigned char *)text, strlen(text), digest);
}

/* What snprintf() returns.  A choice whose first value is 0 adds nothing at 0, so that a new choice
 * leaves the null device's pictures as they were.  Its other values stand behind the field's name, so
 * that two such choices differ. */
static int print_choice(char *to, size_t room, const dr_job_field *field, int choice)
{
    if (field->choices_from > 0)
        return snprintf(to, room, " %d", choice);
    return choice ? snprintf(to, room, " %s=%d", field->name, choice) : 0;
}

/* What snprintf() returns. */
static int print_number(char *to, size_t room, const dr_job *job, const dr_job_field *field, int image)
{
    const void *at = dr_job_member(job, field);
    double real;

    switch (field->type) {
    case DR_FIELD_INT:
        return snprintf(to, room, " %d", *(const int *)at);
    case DR_FIELD_TIME:
        return snprintf(to, room, " %" PRId64, *(const int64_t *)at);
    case DR_FIELD_SEED:
        return snprintf(to, room, " %" PRIu64, dr_job_image_seed(job, image));
    case DR_FIELD_REAL:
        real = (double)*(const float *)at;
        return snprintf(to, room, " %.9g", field->alike_to > 0 ? fmax(field->alike_to, real) : real);
    case DR_FIELD_BOOL:
        return snprintf(to, room, " %d", *(const bool *)at);
    case DR_FIELD_CHOICE:
        return print_choice(to, room, field, *(const int *)at);
    case DR_FIELD_NAME:
    case DR_FIELD_FOLDER:
    case DR_FIELD_TEXT:
        break;
    }
    dr_assert(!"a text among the numbers");
    return 0;
}

static bool draws(const dr_job_field *field)
{
    return field->draws == DR_FIELD_YES;
}

static bool batches(const dr_job_field *field)
{
    return field->batches == DR_FIELD_YES;
}

/* The SHA-256 of: the SHA-256 of each text, then all numbers as one text, padded with zeros. */
static dr_job_digest digest_fields(const dr_job *job, int image, bool (*takes)(const dr_job_field *field))
{
    unsigned char texts[DR_JOB_FIELDS_MAX * SHA256_DIGEST_LENGTH + NUMBERS_BYTES], *end = texts;
    char numbers[NUMBERS_BYTES + 1] = "";
    dr_job_digest digest;
    size_t used = 0;

    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (!takes(field))
            continue;
        if (dr_job_field_is_string(field)) {
            digest_text(job, field, end);
            end += SHA256_DIGEST_LENGTH;
        } else {
            used += (size_t)print_number(numbers + used, sizeof(numbers) - used, job, field, image);
            dr_assert(used < sizeof(numbers));
        }
    }
    memcpy(end, numbers + 1, NUMBERS_BYTES); /* without the first space */
    end += NUMBERS_BYTES;
    SHA256(texts, (size_t)(end - texts), digest.bytes);
    return digest;
}

dr_job_digest dr_job_picture_digest(const dr_job *job, int image)
{
    dr_assert(job->complete && image >= 0 && image < job->images);
    return digest_fields(job, image, draws);
}

dr_job_digest dr_job_batch_digest(const dr_job *job)
{
    dr_assert(job->complete);
    return digest_fields(job, 0, batches);
}
