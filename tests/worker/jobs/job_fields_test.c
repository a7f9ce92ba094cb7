/* Every row of the field table: both bounds, one past them, and values that are no values.  job.proto has the
 * same fields, and its comments say the same numbers. */
#include "worker/jobs/job_fields.h"

#include "darkroom/v1/job.pb-c.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dr_field_value integer(int64_t v)
{
    return (dr_field_value){ DR_VALUE_INTEGER, .integer = v };
}

static dr_field_value real(double v)
{
    return (dr_field_value){ DR_VALUE_REAL, .real = v };
}

static dr_field_value string(const char *bytes, size_t size)
{
    return (dr_field_value){ DR_VALUE_STRING, .string = { bytes, size } };
}

static void expect(const dr_job_field *field, dr_field_value value, bool allowed)
{
    dr_job *job = dr_job_create();
    dr_refusal refusal = { "", "" };
    dr_error err = { 0 };
    const dr_status rc = dr_job_set(job, field, &value, &refusal, &err);

    if (allowed) {
        assert_int_equal(rc, DR_OK);
        assert_true(dr_job_given(job, field));
    } else {
        assert_int_equal(rc, DR_EINVAL);
        assert_string_equal(refusal.field, field->name);
        assert_true(refusal.allowed[0] != 0);
        assert_non_null(strstr(err.text, field->name));
        assert_non_null(strstr(err.text, refusal.allowed));
        assert_false(dr_job_given(job, field));
    }
    dr_job_free(job);
}

static void integers_have_bounds(void **state)
{
    (void)state;
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        const int64_t min = (int64_t)field->min, max = (int64_t)field->max;
        const int step = field->multiple_of ? field->multiple_of : 1;
        if (field->type != DR_FIELD_INT && field->type != DR_FIELD_TIME)
            continue;
        expect(field, integer(min), true);
        expect(field, integer(max), true);
        expect(field, integer(min - step), false);
        expect(field, integer(max + step), false);
        if (step > 1)
            expect(field, integer(min + 1), false);
        expect(field, integer(INT64_MIN), false);
        expect(field, integer(INT64_MAX), false);
        expect(field, integer(max + (1ll << 32)), false); /* would be in range as an int */
        expect(field, (dr_field_value){ DR_VALUE_SEED, .seed = UINT64_MAX }, false);
        expect(field, real((double)min), true); /* 64.0, as programs without whole numbers write it */
        expect(field, real((double)min + 0.5), false);
        expect(field, real(1e300), false);
        expect(field, real(-1e300), false);
        expect(field, real(NAN), false);
        expect(field, string("1", 1), false);
    }
}

static void reals_have_bounds(void **state)
{
    const dr_job_field *field = dr_job_field_find("guidance_scale");
    (void)state;

    expect(field, real(0), true); /* cards of few-step models say 0 */
    expect(field, real(0.5), true);
    expect(field, integer(25), true);
    expect(field, integer(100), true);
    expect(field, real(nextafter(0, -1)), false);
    expect(field, real(nextafter(100, 101)), false);
    expect(field, real(NAN), false);
    expect(field, real(INFINITY), false);
    expect(field, real(-INFINITY), false);
    expect(field, real(-7.5), false);
    expect(field, real(1e308), false);
}

static void seeds_are_64_bits(void **state)
{
    const dr_job_field *field = dr_job_field_find("seed");
    static const struct {
        const char *text;
        bool ok;
        uint64_t seed;
    } cases[] = {
        { "0", true, 0 },
        { "9007199254740993", true, 9007199254740993u }, /* 2^53 + 1: no double holds it */
        { "18446744073709551615", true, UINT64_MAX },
        { "18446744073709551616", false, 0 },
        { "-1", false, 0 },
        { " 1", false, 0 },
        { "1x", false, 0 },
        { "0x10", false, 0 },
        { "1.5", false, 0 },
        { "42.0", true, 42 },
        { "4.2e1", true, 42 },
        { "4200E-2", true, 42 },
        { "18446744073709551615.00", true, UINT64_MAX },
        { "1.8446744073709551615e+19", true, UINT64_MAX },
        { "1.8446744073709551616e+19", false, 0 },
        { "0e9999", true, 0 },
        { "1e99999999999999999999", false, 0 },
        { "42.", false, 0 },
        { ".0", false, 0 },
        { "4e", false, 0 },
        { "4e+", false, 0 },
        { "nan", false, 0 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_job *job = dr_job_create();
        const dr_status rc = dr_job_set_text(job, field, cases[i].text, NULL, NULL);
        assert_int_equal(rc, cases[i].ok ? DR_OK : DR_EINVAL);
        if (cases[i].ok)
            assert_true(job->seed == cases[i].seed);
        dr_job_free(job);
    }
    expect(field, integer(-1), false);
    expect(field, real(-1), false);
    expect(field, real(1), true);
    expect(field, real(0x1.8p63), true);
    expect(field, real(0x1p64), false);
    expect(field, real(NAN), false);
}

static void texts_are_utf8_without_nul(void **state)
{
    const dr_job_field *prompt = dr_job_field_find("prompt");
    char *large = malloc(1 << 20);
    (void)state;

    memset(large, 'a', 1 << 20);
    expect(prompt, string("a red fox \xf0\x9f\xa6\x8a", 14), true);
    expect(prompt, string("\xff", 1), false);
    expect(prompt, string("\xc0\x80", 2), false);         /* an overlong NUL */
    expect(prompt, string("\xed\xa0\x80", 3), false);     /* a surrogate */
    expect(prompt, string("\xf0\x9f\xa6", 3), false);     /* cut short */
    expect(prompt, string("\xf4\x90\x80\x80", 4), false); /* beyond U+10FFFF */
    expect(prompt, string("a\0b", 3), false);
    expect(prompt, string(large, DR_PROMPT_BYTES_MAX), true);
    expect(prompt, string(large, DR_PROMPT_BYTES_MAX + 1), false);
    expect(prompt, string(large, 1 << 20), false);
    expect(prompt, integer(1), false);
    free(large);
}

static void a_refused_prompt_is_not_repeated(void **state)
{
    const dr_field_value value = string("secret\0words", 12);
    dr_job *job = dr_job_create();
    dr_error err;
    (void)state;

    assert_int_equal(dr_job_set(job, dr_job_field_find("prompt"), &value, NULL, &err), DR_EINVAL);
    assert_null(strstr(err.text, "secret"));
    dr_job_free(job);
}

static void names_stay_in_their_folder(void **state)
{
    static const char *const good[] = { "a", "job-17", "sd1.5", "0:3_x", "A.b" };
    static const char *const bad[] = { ".",   "..",      "../x", "a/b",  "/etc/passwd", "a b",
                                       "-rf", ".hidden", "a\\b", "a\nb", "caf\xc3\xa9", "\xff" };
    char longest[DR_NAME_BYTES_MAX + 2];
    (void)state;

    memset(longest, 'a', sizeof(longest));
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (field->type != DR_FIELD_NAME)
            continue;
        for (size_t j = 0; j < sizeof(good) / sizeof(good[0]); j++)
            expect(field, string(good[j], strlen(good[j])), true);
        for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++)
            expect(field, string(bad[j], strlen(bad[j])), false);
        expect(field, string(longest, DR_NAME_BYTES_MAX), true);
        expect(field, string(longest, DR_NAME_BYTES_MAX + 1), false);
    }
}

/* Users name their models' folders as they like. */
static void a_folder_may_have_any_plain_name(void **state)
{
    static const char *const good[] = {
        "a",           "sd1.5", "My Model",
        "v1.5 (fp16)", "-rf",   "a\\b",
        "a:b",         "a..",   "\xd0\xbc\xd0\xbe\xd0\xb4\xd0\xb5\xd0\xbb\xd1\x8c",
        "caf\xc3\xa9"
    };
    static const char *const bad[] = { ".",    "..",   "../x",  "a/b",      "/etc",      ".hidden",
                                       "a\nb", "\xff", "a\xc3", "\x1b[31m", "a\xc2\x85", "a\xe2\x80\xae",
                                       "a\x7f" };
    const dr_job_field *field = dr_job_field_find("model");
    char longest[256 + 1];
    (void)state;

    memset(longest, 'a', sizeof(longest));
    for (size_t j = 0; j < sizeof(good) / sizeof(good[0]); j++)
        expect(field, string(good[j], strlen(good[j])), true);
    for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++)
        expect(field, string(bad[j], strlen(bad[j])), false);
    expect(field, string("a\0b", 3), false);
    expect(field, string(longest, 255), true);
    expect(field, string(longest, 256), false);
}

static void choices_are_names(void **state)
{
    dr_job *job = dr_job_create();
    (void)state;

    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (field->type != DR_FIELD_CHOICE)
            continue;
        for (int c = field->choices_from; c < field->choices_to; c++) {
            assert_int_equal(dr_job_set_text(job, field, field->choice(c), NULL, NULL), DR_OK);
            const dr_field_value held = dr_job_get(job, field);
            assert_int_equal(held.kind, DR_VALUE_STRING);
            assert_string_equal(held.string.bytes, field->choice(c));
        }
        expect(field, string("no such name", 12), false);
        expect(field, string(field->choice(field->choices_from), 1), false); /* a beginning */
        expect(field, integer(field->choices_from), false);
    }
    dr_job_free(job);
}

static void text_is_read_as_others_write_it(void **state)
{
    static const struct {
        const char *name, *text;
        bool ok;
    } cases[] = {
        { "width", "64.0", true },         { "width", "6.4e1", true },
        { "width", "64.5", false },        { "steps", "2e0", true },
        { "steps", "-1", false },          { "steps", "0x10", false },
        { "priority", "-3.0", true },      { "priority", "-0", true },
        { "report_events", "True", true }, { "report_events", "FALSE", true },
        { "report_events", "yes", false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_job *job = dr_job_create();
        const dr_status rc =
            dr_job_set_text(job, dr_job_field_find(cases[i].name), cases[i].text, NULL, NULL);
        if (rc != (cases[i].ok ? DR_OK : DR_EINVAL))
            fail_msg("%s: %s", cases[i].name, cases[i].text);
        dr_job_free(job);
    }
}

/* A refusal shows the refused value exactly, never rounded to an allowed one: 150.0000001 is not shown as
 * 150. */
static void a_refused_value_is_shown_whole(void **state)
{
    static char long_name[201];
    const struct {
        const char *field;
        dr_field_value value;
        const char *says;
    } cases[] = {
        { "steps", real(150.0000001), "150.0000001" },
        { "steps", real(2.5), "2.5;" },
        { "guidance_scale", real(nextafter(100, 101)), "100.00000000000001" },
        { "id", string(long_name, 200), "...\" of 200 bytes" },
    };
    (void)state;

    memset(long_name, 'a', 200);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_job *job = dr_job_create();
        dr_error err;
        assert_int_equal(dr_job_set(job, dr_job_field_find(cases[i].field), &cases[i].value, NULL, &err),
                         DR_EINVAL);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s", err.text);
        dr_job_free(job);
    }
}

static void an_empty_string_is_no_value(void **state)
{
    dr_job *job = dr_job_create();
    (void)state;

    for (int i = 0; i < dr_job_field_count; i++)
        assert_int_equal(dr_job_set_text(job, &dr_job_fields[i], "", NULL, NULL), DR_OK);
    assert_int_equal(job->given, 0);
    assert_int_equal(dr_job_complete(job, NULL, NULL), DR_EINVAL);
    dr_job_free(job);
}

static void what_is_absent_gets_its_default(void **state)
{
    dr_job *job = dr_job_create(), *again = dr_job_create();
    (void)state;

    for (int i = 0; i < 2; i++) {
        dr_job *j = i ? again : job;
        assert_int_equal(dr_job_set_text(j, dr_job_field_find("id"), "a", NULL, NULL), DR_OK);
        assert_int_equal(dr_job_set_text(j, dr_job_field_find("model"), "tiny", NULL, NULL), DR_OK);
        assert_int_equal(dr_job_complete(j, NULL, NULL), DR_OK);
    }
    assert_int_equal(job->task, DR_TASK_TEXT_TO_IMAGE);
    assert_string_equal(job->prompt, "");
    assert_string_equal(job->negative_prompt, "");
    assert_int_equal(job->width, 0); /* the model's */
    assert_int_equal(job->steps, 50);
    assert_true(job->guidance_scale == 7.5f);
    assert_int_equal(job->sampler, DR_SAMPLER_DEFAULT);
    assert_int_equal(job->images, 1);
    assert_int_equal(job->format, DR_PNG);
    assert_int_equal(job->quality, 90);
    assert_null(job->correlation_id);
    assert_true(job->seed <= UINT32_MAX);
    assert_true(job->seed == again->seed); /* the same job, run again after a crash */
    dr_job_free(job);
    dr_job_free(again);
}

/* The whole comment above a field's line in job.proto.  False: there is no such field. */
static bool comment_of(const char *proto, const char *name, char *text, size_t size)
{
    char declaration[64];
    const char *at, *line;

    snprintf(declaration, sizeof(declaration), " %s = ", name);
    at = strstr(proto, declaration);
    if (!at)
        return false;
    line = at;
    while (line > proto && strncmp(line, "\n\n", 2))
        line--;
    snprintf(text, size, "%.*s", (int)(at - line), line);
    return true;
}

/* Whether 0 means something else than a field that is absent. */
static bool zero_differs_from_absent(const dr_job_field *field)
{
    switch (field->type) {
    case DR_FIELD_INT:
    case DR_FIELD_REAL:
        return field->absent || field->preset != 0;
    case DR_FIELD_BOOL:
        return field->preset != 0;
    case DR_FIELD_SEED:
        return true;
    default:
        return false; /* a text and a choice have an empty value; a time of 0 is none */
    }
}

/* Whether the field is in a oneof, and alone there. */
static bool is_in_a_oneof_of_its_own(const ProtobufCMessageDescriptor *message, const char *name)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(message, name);
    int sharing = 0;

    assert_non_null(field);
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return false;
    for (unsigned i = 0; i < message->n_fields; i++)
        sharing += (message->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
                   message->fields[i].quantifier_offset == field->quantifier_offset;
    return sharing == 1;
}

static void job_proto_tells_zero_from_absent(void **state)
{
    (void)state;

    for (int i = 0; i < dr_job_field_count; i++)
        if (zero_differs_from_absent(&dr_job_fields[i]) &&
            !is_in_a_oneof_of_its_own(&darkroom__v1__job__descriptor, dr_job_fields[i].name))
            fail_msg("job.proto: %s is a number whose default is not 0, so it needs a oneof of its own",
                     dr_job_fields[i].name);
}

/* The comment above a field must have the text. */
static void assert_said(const char *name, const char *comment, const char *text)
{
    if (!strstr(comment, text))
        fail_msg("job.proto: the comment of %s does not say \"%s\", which job_fields.c says", name, text);
}

static void job_proto_has_the_same_fields(void **state)
{
    const ProtobufCMessageDescriptor *message = &darkroom__v1__job__descriptor;
    (void)state;

    for (int i = 0; i < dr_job_field_count; i++) {
        const char *name = dr_job_fields[i].name;
        if (strcmp(name, "task") != 0 && !protobuf_c_message_descriptor_get_field_by_name(message, name))
            fail_msg("job.proto has no field %s", name);
    }
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE && !dr_job_field_find(field->name))
            fail_msg("job_fields.c has no row for %s", field->name);
    }
}

static void job_proto_says_the_same(void **state)
{
    static char proto[32768];
    FILE *file = fopen("proto/darkroom/v1/job.proto", "r");
    (void)state;

    assert_non_null(file);
    proto[fread(proto, 1, sizeof(proto) - 1, file)] = 0;
    fclose(file);
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        char comment[1024], expected[64];
        if (strcmp(field->name, "task") == 0)
            continue; /* a oneof of messages there */
        if (!comment_of(proto, field->name, comment, sizeof(comment)))
            fail_msg("job.proto has no line of the field %s", field->name);
        if (field->type == DR_FIELD_INT || field->type == DR_FIELD_REAL) {
            snprintf(expected, sizeof(expected), "%g", field->max);
            assert_said(field->name, comment, expected);
            snprintf(expected, sizeof(expected), "%g", field->min);
            assert_said(field->name, comment, expected);
            if (!field->absent) {
                snprintf(expected, sizeof(expected), "%g", field->preset);
                assert_said(field->name, comment, expected);
            }
        }
        if (field->type == DR_FIELD_CHOICE && strcmp(field->name, "sampler") == 0)
            for (int c = field->choices_from; c < field->choices_to; c++)
                assert_said(field->name, comment, field->choice(c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_have_bounds),
        cmocka_unit_test(reals_have_bounds),
        cmocka_unit_test(seeds_are_64_bits),
        cmocka_unit_test(texts_are_utf8_without_nul),
        cmocka_unit_test(a_refused_prompt_is_not_repeated),
        cmocka_unit_test(names_stay_in_their_folder),
        cmocka_unit_test(a_folder_may_have_any_plain_name),
        cmocka_unit_test(choices_are_names),
        cmocka_unit_test(text_is_read_as_others_write_it),
        cmocka_unit_test(a_refused_value_is_shown_whole),
        cmocka_unit_test(an_empty_string_is_no_value),
        cmocka_unit_test(what_is_absent_gets_its_default),
        cmocka_unit_test(job_proto_has_the_same_fields),
        cmocka_unit_test(job_proto_tells_zero_from_absent),
        cmocka_unit_test(job_proto_says_the_same),
    };
    return cmocka_run_group_tests_name("job_fields", tests, NULL, NULL);
}
