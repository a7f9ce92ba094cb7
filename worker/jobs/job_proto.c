#include "worker/jobs/job_proto.h"

#include "worker/jobs/job_fields.h"
#include "worker/support/text.h"

#include <stdlib.h>
#include <string.h>

/* A choice's number in protobuf is its number in the table plus one, for 0 is _UNSPECIFIED. */
enum { ENUM_BASE = 1 };

/* Does the message say the field?  One outside a oneof it always says: absent and zero are the same there. */
static bool is_present(const ProtobufCFieldDescriptor *f, const void *message)
{
    uint32_t oneof_case;

    if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return true;
    memcpy(&oneof_case, (const char *)message + f->quantifier_offset, sizeof(oneof_case));
    return oneof_case == f->id;
}

static dr_field_value read_field(const ProtobufCFieldDescriptor *f, const dr_job_field *field,
                                 const void *message, const dr_proto_arena *arena)
{
    const void *at = (const char *)message + f->offset;
    const bool oneof = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    dr_field_value value = { .kind = DR_VALUE_NONE };
    int number;

    if (!is_present(f, message))
        return value;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        value.kind = DR_VALUE_STRING;
        value.string.bytes = *(char *const *)at;
        value.string.size = dr_proto_string_size(arena, value.string.bytes);
        break;
    case PROTOBUF_C_TYPE_INT32:
        value.integer = *(const int32_t *)at;
        value.kind = oneof || value.integer ? DR_VALUE_INTEGER : DR_VALUE_NONE;
        break;
    case PROTOBUF_C_TYPE_INT64:
        value.integer = *(const int64_t *)at;
        value.kind = oneof || value.integer ? DR_VALUE_INTEGER : DR_VALUE_NONE;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        value.kind = DR_VALUE_SEED;
        value.seed = *(const uint64_t *)at;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        value.kind = DR_VALUE_REAL;
        value.real = (double)*(const float *)at;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        value.boolean = *(const protobuf_c_boolean *)at;
        value.kind = value.boolean ? DR_VALUE_BOOL : DR_VALUE_NONE;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&number, at, sizeof(number));
        if (number == 0)
            break;
        /* An unknown one stays a number, which the table refuses with the list of names. */
        value.kind = DR_VALUE_INTEGER;
        value.integer = number;
        if (number >= ENUM_BASE && number - ENUM_BASE < field->choices_to) {
            value.kind = DR_VALUE_STRING;
            value.string.bytes = field->choice(number - ENUM_BASE);
            value.string.size = strlen(value.string.bytes);
        }
        break;
    default:
        dr_assert(!"a type that no field of a job has");
    }
    return value;
}

static dr_status set_by_name(dr_job *job, const Darkroom__V1__Job *message, const char *name,
                             const dr_proto_arena *arena, dr_refusal *refusal, dr_error *err)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(&darkroom__v1__job__descriptor, name);
    const dr_job_field *field = dr_job_field_find(name);
    dr_field_value value;

    dr_assert(f && field);
    value = read_field(f, field, message, arena);
    return dr_job_set(job, field, &value, refusal, err);
}

static void read_task(dr_job *job, const Darkroom__V1__Job *message)
{
    switch (message->task_case) {
    case DARKROOM__V1__JOB__TASK_IMAGE_TO_IMAGE:
        job->task = DR_TASK_IMAGE_TO_IMAGE;
        break;
    case DARKROOM__V1__JOB__TASK_INPAINT:
        job->task = DR_TASK_INPAINT;
        break;
    case DARKROOM__V1__JOB__TASK_UPSCALE:
        job->task = DR_TASK_UPSCALE;
        break;
    default:
        job->task = DR_TASK_TEXT_TO_IMAGE;
    }
}

dr_status dr_job_from_message(dr_job *job, const Darkroom__V1__Job *message, const dr_proto_arena *arena,
                              dr_refusal *refusal, dr_error *err)
{
    dr_status rc;

    read_task(job, message);
    for (unsigned i = 0; i < darkroom__v1__job__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &darkroom__v1__job__descriptor.fields[i];
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            continue; /* the task's own message */
        rc = set_by_name(job, message, f->name, arena, refusal, err);
        if (rc)
            return rc;
    }
    if (message->base.n_unknown_fields > 0) {
        char number[32];
        snprintf(number, sizeof(number), "%u", message->base.unknown_fields[0].tag);
        return dr_job_refuse(refusal, err, DR_EUNSUPPORTED, number, "",
                             "this worker knows no field with this number; a newer one may");
    }
    return DR_OK;
}

/* The id comes first: without an id that is text there is nobody to answer.  The other two fields are
 * read even where one of them is refused, so that the answer finds its way. */
static dr_status read_where_to_answer(dr_job *job, const Darkroom__V1__Job *message,
                                      const dr_proto_arena *arena, dr_refusal *refusal, dr_error *err)
{
    const size_t id_bytes = dr_proto_string_size(arena, message->id);
    dr_status rc, first;

    if (id_bytes == 0)
        return dr_fail(err, DR_EFORMAT, "not a job: it has no id");
    if (id_bytes > DR_NAME_BYTES_MAX || !dr_text_valid(message->id, id_bytes))
        return dr_fail(err, DR_EFORMAT, "not a job: its id of %zu bytes is too long or not UTF-8", id_bytes);
    job->id = strdup(message->id);
    if (!job->id)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory", message->id);
    first = set_by_name(job, message, "correlation_id", arena, refusal, err);
    rc = set_by_name(job, message, "reply_topic", arena, first ? NULL : refusal, first ? NULL : err);
    return first ? first : rc;
}

dr_status dr_job_decode(dr_job **out, const void *bytes, size_t size, dr_refusal *refusal, dr_error *err)
{
    Darkroom__V1__Job *message = NULL;
    dr_proto_arena arena = { 0 };
    dr_job *job = NULL;
    dr_status rc;

    *out = NULL;
    if (size > DR_JOB_BYTES_MAX)
        return dr_fail(err, DR_EFORMAT, "the message has %zu bytes; a job has at most %d", size,
                       DR_JOB_BYTES_MAX);
    job = dr_job_create();
    if (!job || !dr_proto_arena_open(&arena, size)) {
        rc = dr_fail(err, DR_ENOMEM, "no memory to decode a job of %zu bytes", size);
        goto out;
    }
    message = darkroom__v1__job__unpack(&arena.allocator, size, bytes);
    if (!message) {
        rc = dr_fail(err, DR_EFORMAT, "not a job: the %zu bytes are not a darkroom.v1.Job%s", size,
                     arena.full ? ", or one that was made to take too much memory" : "");
        goto out;
    }
    rc = read_where_to_answer(job, message, &arena, refusal, err);
    if (!rc)
        rc = dr_job_from_message(job, message, &arena, refusal, err);
    if (!rc)
        rc = dr_job_complete(job, refusal, err);
    if (rc == DR_OK || rc == DR_EINVAL || rc == DR_EUNSUPPORTED) {
        *out = job;
        job = NULL;
    }
out:
    dr_proto_arena_close(&arena);
    dr_job_free(job);
    return rc;
}

/* --- to a message ---------------------------------------------------------------------- */

static void write_field(const ProtobufCFieldDescriptor *f, const dr_job *job, const dr_job_field *field,
                        const dr_field_value *value, void *message)
{
    void *at = (char *)message + f->offset;

    if (value->kind == DR_VALUE_NONE)
        return;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = (char *)(uintptr_t)value->string.bytes; /* pack only reads it */
        break;
    case PROTOBUF_C_TYPE_INT32:
        *(int32_t *)at = (int32_t)value->integer;
        break;
    case PROTOBUF_C_TYPE_INT64:
        *(int64_t *)at = value->integer;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)at = value->seed;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)at = (float)value->real;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = value->boolean;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)at = *(const int *)((const char *)job + field->offset) + ENUM_BASE;
        break;
    default:
        dr_assert(!"a type that no field of a job has");
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy((char *)message + f->quantifier_offset, &f->id, sizeof(f->id));
}

void dr_job_to_message(const dr_job *job, bool defaults_too, Darkroom__V1__Job *message,
                       Darkroom__V1__TextToImage *task_message)
{
    for (unsigned i = 0; i < darkroom__v1__job__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &darkroom__v1__job__descriptor.fields[i];
        const dr_job_field *field = dr_job_field_find(f->name);
        dr_field_value value;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            continue; /* the task's own message */
        dr_assert(field);
        if (!defaults_too && !dr_job_given(job, field))
            continue;
        value = dr_job_get(job, field);
        write_field(f, job, field, &value, message);
    }
    if (job->task == DR_TASK_TEXT_TO_IMAGE) {
        darkroom__v1__text_to_image__init(task_message);
        message->task_case = DARKROOM__V1__JOB__TASK_TEXT_TO_IMAGE;
        message->text_to_image = task_message;
    }
}

dr_status dr_job_encode(const dr_job *job, void **bytes, size_t *size, dr_error *err)
{
    Darkroom__V1__TextToImage task_message;
    Darkroom__V1__Job message;

    darkroom__v1__job__init(&message);
    dr_job_to_message(job, false, &message, &task_message);
    *size = darkroom__v1__job__get_packed_size(&message);
    *bytes = malloc(*size + 1); /* never malloc(0) */
    if (!*bytes)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for %zu bytes", job->id, *size);
    darkroom__v1__job__pack(&message, *bytes);
    return DR_OK;
}
