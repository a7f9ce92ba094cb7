/* result_proto.c - results as protobuf messages. */
#include "worker/jobs/result.h"

#include "worker/jobs/job_proto.h"
#include "worker/support/text.h"

#include "darkroom/v1/result.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* The code of each status but DR_OK, which has none. */
static const Darkroom__V1__ErrorCode codes[] = {
    [DR_EINVAL] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_INVALID,
    [DR_EFORMAT] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_MALFORMED,
    [DR_EUNSUPPORTED] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_UNSUPPORTED,
    [DR_ENOTFOUND] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_NOT_FOUND,
    [DR_ENOMEM] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_OUT_OF_MEMORY,
    [DR_EIO] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_IO,
    [DR_EDEVICE] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_DEVICE,
    [DR_ECANCELED] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_CANCELED,
    [DR_EEXPIRED] = DARKROOM__V1__ERROR_CODE__ERROR_CODE_EXPIRED,
};
enum { CODES = sizeof(codes) / sizeof(codes[0]) };

static Darkroom__V1__State state_of(dr_status status)
{
    switch (status) {
    case DR_OK:
        return DARKROOM__V1__STATE__STATE_SUCCEEDED;
    case DR_ECANCELED:
        return DARKROOM__V1__STATE__STATE_CANCELED;
    case DR_EEXPIRED:
        return DARKROOM__V1__STATE__STATE_EXPIRED;
    default:
        return DARKROOM__V1__STATE__STATE_FAILED;
    }
}

/* A string for a message.  Packing only reads it. */
static char *text(const char *string)
{
    return (char *)(uintptr_t)string;
}

/* A Result and everything that it points to while it is packed. */
typedef struct parts {
    Darkroom__V1__Result result;
    Darkroom__V1__Job job;
    Darkroom__V1__TextToImage task;
    Darkroom__V1__Error error;
    Darkroom__V1__Timings timings;
    Darkroom__V1__Picture picture[DR_IMAGES_MAX];
    Darkroom__V1__Picture *pictures[DR_IMAGES_MAX];
    char *warnings[DR_WARNINGS_MAX];
    char message[DR_ERROR_TEXT_MAX];
} parts;

static void fill_error(parts *p, const dr_result *result)
{
    darkroom__v1__error__init(&p->error);
    p->error.code = codes[result->error.status];
    p->error.field = text(result->refusal.field);
    p->error.allowed = text(result->refusal.allowed);
    /* A long message may have been cut inside a character. */
    dr_text_copy(p->message, sizeof(p->message), result->error.text, strlen(result->error.text));
    p->error.message = p->message;
    p->error.retriable = result->error.retriable;
    p->result.error = &p->error;
}

static void fill_pictures(parts *p, const dr_result *result)
{
    for (int i = 0; i < result->pictures; i++) {
        const dr_rendition *from = &result->picture[i];
        Darkroom__V1__Picture *to = &p->picture[i];
        darkroom__v1__picture__init(to);
        to->content_case = DARKROOM__V1__PICTURE__CONTENT_INLINE;
        to->inline_ = (ProtobufCBinaryData){ .len = from->size, .data = from->bytes };
        to->sha256 = text(from->sha256);
        to->size = from->size;
        to->media_type = text(dr_picture_media_type(from->format));
        to->seed = from->seed;
        to->width = from->width;
        to->height = from->height;
        p->pictures[i] = to;
    }
    p->result.pictures = p->pictures;
    p->result.n_pictures = (size_t)result->pictures;
}

static void fill_timings(parts *p, const dr_result *result)
{
    darkroom__v1__timings__init(&p->timings);
    p->timings.queued_us = result->queued_ns / 1000;
    p->timings.denoise_us = result->denoise_ns / 1000;
    p->timings.decode_us = result->decode_ns / 1000;
    p->timings.encode_us = result->encode_ns / 1000;
    p->result.timings = &p->timings;
}

static void fill_details(parts *p, const dr_result *result, const char *worker)
{
    p->result.job = &p->job;
    fill_pictures(p, result);
    fill_timings(p, result);
    p->result.model_fingerprint = text(result->model_fingerprint);
    p->result.arithmetic = text(result->arithmetic);
    for (int i = 0; i < result->warnings.count; i++)
        p->warnings[i] = text(result->warnings.text[i]);
    p->result.warnings = p->warnings;
    p->result.n_warnings = (size_t)result->warnings.count;
    p->result.batch_samples = result->batch_samples;
    p->result.worker = text(worker);
}

dr_status dr_result_encode(const dr_result *result, const char *worker, void **bytes, size_t *size,
                           dr_error *err)
{
    const dr_job *job = result->job;
    parts p;

    darkroom__v1__result__init(&p.result);
    darkroom__v1__job__init(&p.job);
    dr_job_to_message(job, job->complete, &p.job, &p.task);
    p.result.id = job->id;
    p.result.correlation_id = job->correlation_id ? job->correlation_id : text("");
    p.result.state = state_of(result->error.status);
    if (result->error.status != DR_OK)
        fill_error(&p, result);
    if (!result->brief)
        fill_details(&p, result, worker);

    *size = darkroom__v1__result__get_packed_size(&p.result);
    *bytes = malloc(*size + 1); /* never malloc(0) */
    if (!*bytes)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for a result of %zu bytes", job->id, *size);
    darkroom__v1__result__pack(&p.result, *bytes);
    return DR_OK;
}

/* --- back ------------------------------------------------------------------------------ */

static void read_text(const dr_proto_arena *arena, char *to, size_t room, const char *string)
{
    dr_text_copy(to, room, string, dr_proto_string_size(arena, string));
}

static int64_t us_to_ns(int64_t us)
{
    return us < 0 || us > INT64_MAX / 1000 ? 0 : us * 1000;
}

static bool media_type_format(const char *media_type, dr_picture_format *format)
{
    for (int i = 0; i < DR_PICTURE_FORMATS; i++)
        if (strcmp(media_type, dr_picture_media_type((dr_picture_format)i)) == 0) {
            *format = (dr_picture_format)i;
            return true;
        }
    return false;
}

static dr_status read_picture(dr_result *result, const Darkroom__V1__Picture *from,
                              const dr_proto_arena *arena, dr_error *err)
{
    dr_rendition *to = &result->picture[result->pictures];

    if (from->content_case != DARKROOM__V1__PICTURE__CONTENT_INLINE)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "job %s: its picture is in an object store, which this version does not read",
                       result->job->id);
    if (!media_type_format(from->media_type, &to->format))
        return dr_fail(err, DR_EUNSUPPORTED, "job %s: one of its pictures has an unknown media type",
                       result->job->id);
    to->bytes = malloc(from->inline_.len + 1);
    if (!to->bytes)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for a picture", result->job->id);
    if (from->inline_.len)
        memcpy(to->bytes, from->inline_.data, from->inline_.len);
    to->size = from->inline_.len;
    to->seed = from->seed;
    to->width = from->width;
    to->height = from->height;
    read_text(arena, to->sha256, sizeof(to->sha256), from->sha256);
    result->pictures++;
    return DR_OK;
}

static dr_status read_error(dr_result *result, const Darkroom__V1__Error *from, const dr_proto_arena *arena,
                            dr_error *err)
{
    dr_status status = DR_OK;

    for (int i = 1; from && i < CODES; i++)
        if (codes[i] == from->code)
            status = (dr_status)i;
    if (status == DR_OK)
        return dr_fail(err, DR_EUNSUPPORTED, "job %s: it failed with a code that this version does not know",
                       result->job->id);
    result->error.status = status;
    result->error.retriable = from->retriable;
    read_text(arena, result->error.text, sizeof(result->error.text), from->message);
    read_text(arena, result->refusal.field, sizeof(result->refusal.field), from->field);
    read_text(arena, result->refusal.allowed, sizeof(result->refusal.allowed), from->allowed);
    return DR_OK;
}

static dr_status read_job(dr_result *result, const Darkroom__V1__Result *message, const dr_proto_arena *arena,
                          dr_error *err)
{
    dr_job *job = result->job;
    dr_status rc = DR_OK;

    job->id = strdup(message->id);
    if (!job->id)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for its id", message->id);
    if (message->job)
        rc = dr_job_from_message(job, message->job, arena, NULL, err);
    if (rc == DR_ENOMEM)
        return rc;
    if (strcmp(job->id, message->id) != 0)
        return dr_fail(err, DR_EFORMAT, "not a result: it names two jobs, %s and %s", message->id, job->id);
    /* A job that succeeded has only values that are allowed.  A failed one may have failed for a value
     * that is not. */
    if (message->state != DARKROOM__V1__STATE__STATE_SUCCEEDED)
        return DR_OK;
    return rc ? rc : dr_job_complete(job, NULL, err);
}

static dr_status from_message(dr_result *result, const Darkroom__V1__Result *message,
                              const dr_proto_arena *arena, dr_error *err)
{
    const size_t id_bytes = dr_proto_string_size(arena, message->id);
    dr_status rc;

    if (id_bytes == 0 || id_bytes > DR_NAME_BYTES_MAX || !dr_text_valid(message->id, id_bytes))
        return dr_fail(err, DR_EFORMAT, "not a result: its id of %zu bytes is missing, too long or not UTF-8",
                       id_bytes);
    rc = read_job(result, message, arena, err);
    if (rc)
        return rc;
    read_text(arena, result->model_fingerprint, sizeof(result->model_fingerprint),
              message->model_fingerprint);
    read_text(arena, result->arithmetic, sizeof(result->arithmetic), message->arithmetic);
    for (size_t i = 0; i < message->n_warnings && i < DR_WARNINGS_MAX; i++)
        read_text(arena, result->warnings.text[result->warnings.count++], DR_WARNING_BYTES_MAX,
                  message->warnings[i]);
    result->batch_samples = message->batch_samples;
    if (message->timings) {
        result->queued_ns = us_to_ns(message->timings->queued_us);
        result->denoise_ns = us_to_ns(message->timings->denoise_us);
        result->decode_ns = us_to_ns(message->timings->decode_us);
        result->encode_ns = us_to_ns(message->timings->encode_us);
    }
    if (message->state != DARKROOM__V1__STATE__STATE_SUCCEEDED)
        return read_error(result, message->error, arena, err);
    if (message->n_pictures == 0 || message->n_pictures > DR_IMAGES_MAX)
        return dr_fail(err, DR_EFORMAT, "job %s: its result has %zu pictures; 1..%d are possible",
                       message->id, message->n_pictures, DR_IMAGES_MAX);
    for (size_t i = 0; i < message->n_pictures && !rc; i++)
        rc = read_picture(result, message->pictures[i], arena, err);
    return rc;
}

dr_status dr_result_decode(dr_result **out, const void *bytes, size_t size, dr_error *err)
{
    Darkroom__V1__Result *message;
    dr_proto_arena arena = { 0 };
    dr_result *result = NULL;
    dr_job *job = NULL;
    dr_status rc;

    *out = NULL;
    if (size > DR_RESULT_BYTES_MAX)
        return dr_fail(err, DR_EFORMAT, "the message has %zu bytes; a result has at most %d", size,
                       DR_RESULT_BYTES_MAX);
    job = dr_job_create();
    result = job ? dr_result_create(job) : NULL;
    if (result)
        job = NULL; /* the result's now */
    if (!result || !dr_proto_arena_open(&arena, size)) {
        rc = dr_fail(err, DR_ENOMEM, "no memory to decode a result of %zu bytes", size);
        goto out;
    }
    message = darkroom__v1__result__unpack(&arena.allocator, size, bytes);
    rc = message ? from_message(result, message, &arena, err)
                 : dr_fail(err, DR_EFORMAT, "not a result: the %zu bytes are not a darkroom.v1.Result", size);
    if (!rc) {
        *out = result;
        result = NULL;
    }
out:
    dr_proto_arena_close(&arena);
    dr_result_free(result);
    dr_job_free(job);
    return rc;
}
