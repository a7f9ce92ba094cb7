/* Jobs from bytes and from lines.  A good job comes out whole.  A bad job is refused, and the refusal
 * names the bad field.  Bytes that are no job at all are neither. */
#include "darkroom/v1/job.pb-c.h"
#include "tests/worker/jobs/field_values.h"
#include "worker/jobs/job_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct decoded {
    dr_status rc;
    dr_job *job;
    dr_refusal refusal;
    dr_error err;
} decoded;

static decoded from_bytes(const void *bytes, size_t size)
{
    decoded d = { 0 };
    d.rc = dr_job_decode(&d.job, bytes, size, &d.refusal, &d.err);
    assert_int_equal(d.job != NULL, d.rc == DR_OK || d.rc == DR_EINVAL || d.rc == DR_EUNSUPPORTED);
    return d;
}

static decoded from_message(const Darkroom__V1__Job *message)
{
    const size_t size = darkroom__v1__job__get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    darkroom__v1__job__pack(message, bytes);
    const decoded d = from_bytes(bytes, size);
    free(bytes);
    return d;
}

static decoded from_line(const char *line)
{
    decoded d = { 0 };
    d.rc = dr_job_parse(&d.job, &(dr_job_line){ .text = line, .size = strlen(line), .fallback_id = "line-1" },
                        &d.refusal, &d.err);
    return d;
}

static Darkroom__V1__Job good_message(void)
{
    Darkroom__V1__Job message;
    darkroom__v1__job__init(&message);
    message.id = "job-1";
    message.model = "tiny";
    message.prompt = "a red fox";
    return message;
}

static void every_field_survives_the_wire(void **state)
{
    static const char line[] =
        "{\"id\":\"a\",\"model\":\"m\",\"task\":\"text_to_image\",\"prompt\":\"p "
        "\\u00e9\",\"negative_prompt\":\"n\","
        "\"width\":104,\"height\":88,\"steps\":7,\"guidance_scale\":3.25,\"sampler\":\"euler_a\","
        "\"seed\":18446744073709551615,\"images\":3,\"format\":\"webp\",\"quality\":77,\"priority\":-4,"
        "\"deadline_ms\":1700000000123,\"report_events\":true,\"correlation_id\":\"c "
        "1\",\"reply_topic\":\"r\"}";
    decoded a = from_line(line), b;
    void *bytes;
    size_t size;
    (void)state;

    assert_int_equal(a.rc, DR_OK);
    for (int i = 0; i < dr_job_field_count; i++) { /* fields that are not in the line: any value */
        dr_field_value value[FIELD_VALUES_MAX];
        field_values(&dr_job_fields[i], value);
        if (!dr_job_given(a.job, &dr_job_fields[i]))
            assert_int_equal(dr_job_set(a.job, &dr_job_fields[i], &value[0], NULL, NULL), DR_OK);
    }
    assert_int_equal(dr_job_encode(a.job, &bytes, &size, NULL), DR_OK);
    b = from_bytes(bytes, size);
    assert_int_equal(b.rc, DR_OK);
    assert_string_equal(b.job->prompt, "p \xc3\xa9");
    assert_true(b.job->seed == UINT64_MAX);
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_field_value x = dr_job_get(a.job, &dr_job_fields[i]),
                             y = dr_job_get(b.job, &dr_job_fields[i]);
        assert_int_equal(x.kind, y.kind);
        assert_int_not_equal(x.kind, DR_VALUE_NONE);
        if (x.kind == DR_VALUE_STRING)
            assert_string_equal(x.string.bytes, y.string.bytes);
        else if (x.kind == DR_VALUE_BOOL)
            assert_true(x.boolean == y.boolean);
        else
            assert_true(x.seed == y.seed); /* the bits of any number */
    }
    free(bytes);
    dr_job_free(a.job);
    dr_job_free(b.job);
}

static void absent_and_zero_differ(void **state)
{
    Darkroom__V1__Job message = good_message();
    decoded d = from_message(&message);
    (void)state;

    assert_int_equal(d.rc, DR_OK);
    assert_int_equal(d.job->steps, 50);
    dr_job_free(d.job);
    message.optional_steps_case = DARKROOM__V1__JOB__OPTIONAL_STEPS_STEPS;
    message.steps = 0;
    d = from_message(&message);
    assert_int_equal(d.rc, DR_EINVAL);
    assert_string_equal(d.refusal.field, "steps");
    assert_string_equal(d.refusal.allowed, "1..150");
    assert_string_equal(d.job->id, "job-1");
    dr_job_free(d.job);
}

static void bad_messages_are_refused_by_field(void **state)
{
    Darkroom__V1__Job message;
    decoded d;
    (void)state;

#define REFUSED(expected_field, ...)                                                    \
    do {                                                                                \
        message = good_message();                                                       \
        message.correlation_id = "c";                                                   \
        __VA_ARGS__;                                                                    \
        d = from_message(&message);                                                     \
        assert_int_equal(d.rc, DR_EINVAL);                                              \
        assert_string_equal(d.refusal.field, expected_field);                           \
        assert_string_equal(d.job->correlation_id, "c"); /* the answer finds its way */ \
        assert_false(d.job->complete);                                                  \
        dr_job_free(d.job);                                                             \
    } while (0)

    REFUSED("id", message.id = "a/b");
    REFUSED("model", message.model = "");
    REFUSED("model", message.model = "../../etc");
    REFUSED("prompt", message.prompt = "\xff\xfe");
    REFUSED("negative_prompt", message.negative_prompt = "\xc3");
    REFUSED("sampler", message.sampler = "best");
    REFUSED("format", message.format = (Darkroom__V1__PictureFormat)99);
    REFUSED("format", message.format = (Darkroom__V1__PictureFormat)-1);
    REFUSED("priority", message.priority = 11);
    REFUSED("deadline_ms", message.deadline_ms = -1);
    REFUSED("width", message.optional_width_case = DARKROOM__V1__JOB__OPTIONAL_WIDTH_WIDTH;
            message.width = 100000);
    REFUSED("height", message.optional_height_case = DARKROOM__V1__JOB__OPTIONAL_HEIGHT_HEIGHT;
            message.height = 100);
    REFUSED("guidance_scale",
            message.optional_guidance_scale_case = DARKROOM__V1__JOB__OPTIONAL_GUIDANCE_SCALE_GUIDANCE_SCALE;
            message.guidance_scale = 0.0f / 0.0f);
#undef REFUSED
}

static void tasks_to_come_are_unsupported(void **state)
{
    Darkroom__V1__Upscale upscale;
    Darkroom__V1__Job message = good_message();
    decoded d;
    (void)state;

    darkroom__v1__upscale__init(&upscale);
    message.task_case = DARKROOM__V1__JOB__TASK_UPSCALE;
    message.upscale = &upscale;
    d = from_message(&message);
    assert_int_equal(d.rc, DR_EUNSUPPORTED);
    assert_string_equal(d.refusal.field, "task");
    assert_string_equal(d.refusal.allowed, "text_to_image");
    dr_job_free(d.job);
    d = from_line("{\"model\":\"m\",\"init_image\":\"a.png\",\"strength\":0.5}");
    assert_int_equal(d.rc, DR_EUNSUPPORTED);
    assert_string_equal(d.refusal.field, "task");
    dr_job_free(d.job);
}

static void a_field_nobody_knows_is_unsupported(void **state)
{
    /* id "a", model "m", and field 100 = 1: from a newer client */
    static const uint8_t bytes[] = { 0x0a, 1, 'a', 0x12, 1, 'm', 0xa0, 0x06, 0x01 };
    decoded d = from_bytes(bytes, sizeof(bytes));
    (void)state;

    assert_int_equal(d.rc, DR_EUNSUPPORTED);
    assert_string_equal(d.refusal.field, "100");
    dr_job_free(d.job);
}

static void no_id_is_no_job(void **state)
{
    Darkroom__V1__Job message = good_message();
    static const uint8_t nul_in_id[] = { 0x0a, 3, 'a', 0, 'b', 0x12, 1, 'm' };
    (void)state;

    message.id = "";
    assert_int_equal(from_message(&message).rc, DR_EFORMAT);
    message.id = "\xff";
    assert_int_equal(from_message(&message).rc, DR_EFORMAT);
    assert_int_equal(from_bytes(nul_in_id, sizeof(nul_in_id)).rc, DR_EFORMAT);
    assert_int_equal(from_bytes("", 0).rc, DR_EFORMAT);
}

static void a_nul_in_a_prompt_is_seen(void **state)
{
    static const uint8_t bytes[] = { 0x0a, 1, 'a', 0x12, 1, 'm', 0x3a, 3, 'x', 0, 'y' };
    decoded d = from_bytes(bytes, sizeof(bytes));
    (void)state;

    assert_int_equal(d.rc, DR_EINVAL);
    assert_string_equal(d.refusal.field, "prompt");
    dr_job_free(d.job);
}

static void truncated_and_random_bytes_never_crash(void **state)
{
    Darkroom__V1__Job message = good_message();
    uint8_t bytes[256], changed[256];
    const size_t size = darkroom__v1__job__pack(&message, bytes);
    uint32_t random = 1;
    (void)state;

    for (size_t cut = 0; cut < size; cut++)
        dr_job_free(from_bytes(bytes, cut).job);
    for (int round = 0; round < 20000; round++) {
        memcpy(changed, bytes, size);
        for (int i = 0; i < 3; i++) {
            random = random * 1664525u + 1013904223u;
            changed[(random >> 8) % size] = (uint8_t)(random >> 24);
        }
        dr_job_free(from_bytes(changed, size).job);
    }
}

/* 1 MB of empty sub-messages, of which protobuf-c by itself would make 40 MB. */
static void a_message_built_to_take_memory_is_no_job(void **state)
{
    const size_t size = 1 << 20;
    uint8_t *bytes = malloc(size);
    decoded d;
    (void)state;

    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 0x1a; /* text_to_image */
        bytes[i + 1] = 0;
    }
    d = from_bytes(bytes, size);
    assert_int_equal(d.rc, DR_EFORMAT);
    assert_non_null(strstr(d.err.text, "memory"));
    free(bytes);
}

static void too_large_is_not_even_read(void **state)
{
    static const uint8_t one = 0;
    (void)state;
    assert_int_equal(from_bytes(&one, DR_JOB_BYTES_MAX + 1).rc, DR_EFORMAT);
}

static void lines_are_read(void **state)
{
    static const struct {
        const char *line;
        dr_status rc;
        const char *field;
    } cases[] = {
        { "{\"model\":\"m\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"prompt\":null,\"steps\":null}", DR_OK, "" },
        { "{\"model\":\"m\",\"seed\":\"18446744073709551615\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"prompt\":\"99999999999999999999 \\\" 9999999999999999999\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"seed\":18446744073709551616}", DR_EINVAL, "seed" },
        { "{\"model\":\"m\",\"seed\":-1}", DR_EINVAL, "seed" },
        { "{\"model\":\"m\",\"seed\":1.0}", DR_OK, "" },
        { "{\"model\":\"m\",\"seed\":1.5}", DR_EINVAL, "seed" },
        { "{\"model\":\"m\",\"seed\":1e19}", DR_OK, "" },
        { "{\"model\":\"m\",\"seed\":1e20}", DR_EINVAL, "seed" },
        { "{\"model\":\"m\",\"steps\":2.0}", DR_OK, "" },
        { "{\"model\":\"m\",\"steps\":2e0}", DR_OK, "" },
        { "{\"model\":\"m\",\"guidance_scale\":\"7.5\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"guidance_scale\":0}", DR_OK, "" },
        { "{\"model\":\"m\",\"guidance_scale\":30}", DR_OK, "" },
        { "{\"model\":\"m\",\"guidance_scale\":100.1}", DR_EINVAL, "guidance_scale" },
        { "{\"model\":\"m\",\"report_events\":\"true\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"prompt\":1984}", DR_OK, "" },
        { "{\"model\":\"m\",\"prompt\":3.14}", DR_EINVAL, "prompt" },
        { "{\"model\":\"m\",\"prompt\":true}", DR_EINVAL, "prompt" },
        { "{\"model\":\"m\",\"steps\":99999999999999999999}", DR_EINVAL, "steps" },
        { "{\"model\":\"m\",\"steps\":20.5}", DR_EINVAL, "steps" },
        { "{\"model\":\"m\",\"steps\":\"20\"}", DR_OK, "" },
        { "{\"model\":\"m\",\"steps\":\"20x\"}", DR_EINVAL, "steps" },
        { "{\"model\":\"m\",\"steps\":true}", DR_EINVAL, "steps" },
        { "{\"model\":\"m\",\"width\":0}", DR_EINVAL, "width" },
        { "{\"model\":\"m\",\"prompt\":[\"a\"]}", DR_EINVAL, "prompt" },
        { "{\"model\":\"m\",\"negativ_prompt\":\"a\"}", DR_EINVAL, "negativ_prompt" },
        { "{\"model\":\"m\",\"id\":\"../a\"}", DR_EINVAL, "id" },
        { "{\"model\":\"m\",\"id\":-7}", DR_EINVAL, "id" },
        { "{\"model\":\"m\",\"id\":7.5}", DR_EINVAL, "id" },
        { "{\"prompt\":\"a\"}", DR_EINVAL, "model" },
        { "{\"model\":\"m\",\"model\":\"n\"}", DR_EFORMAT, "" },
        { "{\"model\":\"m\",\"guidance_scale\":NaN}", DR_EFORMAT, "" },
        { "{\"model\":\"m\",\"guidance_scale\":1e999}", DR_EFORMAT, "" },
        { "{\"model\":\"m\",\"prompt\":\"\\u0000\"}", DR_EFORMAT, "" },
        { "{\"model\":\"m\",\"prompt\":\"\xff\"}", DR_EFORMAT, "" },
        { "{\"model\":\"m\"", DR_EFORMAT, "" },
        { "{\"model\":\"m\"} x", DR_EFORMAT, "" },
        { "[]", DR_EFORMAT, "" },
        { "", DR_EFORMAT, "" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        decoded d = from_line(cases[i].line);
        if (d.rc != cases[i].rc)
            fail_msg("%s: %s (%s)", cases[i].line, dr_status_name(d.rc), d.err.text);
        assert_string_equal(d.refusal.field, cases[i].field);
        dr_job_free(d.job);
    }
}

static void a_line_takes_its_number_for_an_id(void **state)
{
    decoded d = from_line("{\"model\":\"m\"}");
    dr_error err;
    (void)state;

    assert_string_equal(d.job->id, "line-1");
    dr_job_free(d.job);
    assert_int_equal(dr_job_parse(&d.job, &(dr_job_line){ .text = "{\"model\":\"m\"}", .size = 13 }, NULL,
                                  &err),
                     DR_EFORMAT);
    assert_null(d.job);
}

static void an_id_may_be_a_number(void **state)
{
    static const struct {
        const char *id, *expected;
    } cases[] = {
        { "7", "7" }, { "7.0", "7" }, { "7e0", "7" }, { "12345678901234567890", "12345678901234567890" }
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "{\"id\":%s,\"model\":\"m\"}", cases[i].id);
        decoded d = from_line(line);
        assert_int_equal(d.rc, DR_OK);
        assert_string_equal(d.job->id, cases[i].expected);
        dr_job_free(d.job);
    }
}

static void a_list_is_told_so(void **state)
{
    decoded d = from_line("[{\"id\":\"a\",\"model\":\"m\"}]");
    (void)state;
    assert_int_equal(d.rc, DR_EFORMAT);
    assert_non_null(strstr(d.err.text, "one object a line"));
}

static void a_large_prompt_is_refused_not_copied(void **state)
{
    const size_t size = 1000000;
    char *line = malloc(size + 64);
    decoded d;
    (void)state;

    memset(line, 'a', size + 64);
    memcpy(line, "{\"model\":\"m\",\"prompt\":\"", 23);
    memcpy(line + 23 + size, "\"}", 3);
    d = from_line(line);
    assert_int_equal(d.rc, DR_EINVAL);
    assert_string_equal(d.refusal.field, "prompt");
    dr_job_free(d.job);
    free(line);
}

/* The seed is the first 32 bits of the id's SHA-256, and this never changes: a job that is sent again
 * without a seed has the same pictures. */
static void a_seed_is_drawn_from_the_id(void **state)
{
    decoded d = from_line("{\"id\":\"fox\",\"model\":\"m\"}");
    (void)state;

    assert_int_equal(d.rc, DR_OK);
    assert_true(d.job->seed == 0x776cb326);
    dr_job_free(d.job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_drawn_from_the_id),
        cmocka_unit_test(every_field_survives_the_wire),
        cmocka_unit_test(absent_and_zero_differ),
        cmocka_unit_test(bad_messages_are_refused_by_field),
        cmocka_unit_test(tasks_to_come_are_unsupported),
        cmocka_unit_test(a_field_nobody_knows_is_unsupported),
        cmocka_unit_test(no_id_is_no_job),
        cmocka_unit_test(a_nul_in_a_prompt_is_seen),
        cmocka_unit_test(truncated_and_random_bytes_never_crash),
        cmocka_unit_test(a_message_built_to_take_memory_is_no_job),
        cmocka_unit_test(too_large_is_not_even_read),
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(a_line_takes_its_number_for_an_id),
        cmocka_unit_test(an_id_may_be_a_number),
        cmocka_unit_test(a_list_is_told_so),
        cmocka_unit_test(a_large_prompt_is_refused_not_copied),
    };
    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
