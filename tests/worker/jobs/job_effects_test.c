/* What the columns `draws` and `batches` of the field table promise, for every field and several of its
 * values:
 *
 *     draws     another value gives another picture of the null device, another text in the picture's file,
 *               and another request to the model (or another model, task or size)
 *     batches   jobs with another value have another batch digest
 *
 * A field without a mark in the column changes nothing of this. */
#include "tests/worker/jobs/field_values.h"
#include "worker/engine/engine.h"
#include "worker/jobs/job_digest.h"
#include "worker/jobs/job_fields.h"
#include "worker/pictures/picture.h"
#include "worker/pictures/picture_text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dr_job *base_job(void)
{
    static const char line[] =
        "{\"id\":\"a\",\"model\":\"tiny\",\"prompt\":\"a red fox\",\"negative_prompt\":"
        "\"blurry\",\"width\":128,\"height\":72,\"steps\":3,\"guidance_scale\":7.25,"
        "\"sampler\":\"euler\",\"seed\":17,\"images\":2}";
    dr_job *job;

    assert_int_equal(dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, NULL),
                     DR_OK);
    return job;
}

/* Sets the field.  The task of a complete job is text_to_image; other tasks are tried all the same. */
static void set(dr_job *job, const dr_job_field *field, const dr_field_value *value)
{
    assert_int_equal(dr_job_set(job, field, value, NULL, NULL), DR_OK);
    job->prompt_bytes = strlen(job->prompt);
    job->negative_prompt_bytes = strlen(job->negative_prompt);
}

/* --- what a job comes to ----------------------------------------------------------------------- */

typedef struct effects {
    char picture[65];       /* SHA-256 of image 0's pixels, by the null device */
    dr_picture_texts texts; /* in the picture's file; owned */
    dr_text_to_image request;
    dr_job_digest digest, batch;
} effects;

static void draw(dr_engine *e, dr_job *job, char sha256[65])
{
    const size_t bytes = (size_t)job->width * (size_t)job->height * 3;
    uint8_t *rgb = malloc(bytes);
    int sample, picture;
    bool more;

    assert_non_null(rgb);
    assert_int_equal(dr_engine_prepare(e, job, NULL, NULL), DR_OK);
    assert_int_equal(dr_engine_begin(e, job, 1, NULL), DR_OK);
    assert_int_equal(dr_engine_add(e, job, 0, &sample, NULL), DR_OK);
    do
        assert_int_equal(dr_engine_step(e, &more, NULL), DR_OK);
    while (more);
    assert_int_equal(dr_engine_begin_picture(e, sample, &picture, NULL), DR_OK);
    assert_int_equal(dr_engine_end_picture(e, picture, rgb, NULL), DR_OK);
    dr_engine_end(e);
    dr_sha256_hex(sha256, rgb, bytes);
    free(rgb);
}

static void look(effects *out, dr_engine *e, dr_job *job)
{
    draw(e, job, out->picture);
    assert_int_equal(dr_picture_texts_make(&out->texts, job, 0, "0123456789abcdef", NULL), DR_OK);
    dr_job_request(&out->request, job, 0);
    out->digest = dr_job_picture_digest(job, 0);
    out->batch = dr_job_batch_digest(job);
}

/* --- tests ---------------------------------------------------------------------------------- */

static void every_field_has_its_decisions(void **state)
{
    (void)state;
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (field->draws == DR_FIELD_UNDECIDED || field->batches == DR_FIELD_UNDECIDED)
            fail_msg("the row of %s in job_fields.c must say .draws and .batches", field->name);
        if (field->alike_to != 0)
            assert_true(field->type == DR_FIELD_REAL && field->draws == DR_FIELD_YES &&
                        field->alike_to > field->min && field->alike_to < field->max);
    }
}

static void expect(const dr_job_field *field, const char *what, bool wanted, bool differs)
{
    if (wanted != differs)
        fail_msg("another %s %s %s", field->name, differs ? "changes" : "does not change", what);
}

static void compare(const dr_job_field *field, const effects *before, const effects *after)
{
    const bool draws = field->draws == DR_FIELD_YES, batches = field->batches == DR_FIELD_YES;
    const bool other_request = memcmp(&before->request, &after->request, sizeof(before->request)) != 0;
    const bool other_batch = memcmp(&before->batch, &after->batch, sizeof(before->batch)) != 0;

    expect(field, "the null device's picture", draws, strcmp(before->picture, after->picture) != 0);
    expect(field, "the text in the picture's file", draws,
           strcmp(before->texts.json, after->texts.json) != 0);
    expect(field, "the batch digest", batches, other_batch);
    if (!draws)
        expect(field, "the request to the model", false, other_request);
    else if (!batches) /* otherwise the field may act on the whole batch: its model, task and size */
        expect(field, "the request to the model", true, other_request);
}

static void a_column_is_what_the_field_does(void **state)
{
    const dr_engine_options options = { .device = { .name = "null" }, .batch_max = 1, .models_max = 1 };
    dr_job *job = base_job();
    dr_engine *e;
    (void)state;

    assert_int_equal(dr_engine_open(&e, &options, NULL), DR_OK);
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        dr_field_value value[FIELD_VALUES_MAX];
        const int count = field_values(field, value);
        int tried = 0;
        for (int v = 0; v < count; v++) {
            effects before, after;
            dr_job_free(job);
            job = base_job();
            if (field_holds(job, field, &value[v]))
                continue;
            look(&before, e, job);
            set(job, field, &value[v]);
            look(&after, e, job);
            compare(field, &before, &after);
            dr_picture_texts_free(&before.texts);
            dr_picture_texts_free(&after.texts);
            tried++;
        }
        assert_true(tried > 0);
    }
    dr_job_free(job);
    dr_engine_close(e);
}

/* If the digest mixed up two fields, two jobs would have one picture. */
static void no_two_jobs_share_a_picture(void **state)
{
    enum { JOBS_MAX = 256 };
    static dr_job_digest digest[JOBS_MAX];
    int jobs = 0;
    (void)state;

    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        dr_field_value value[FIELD_VALUES_MAX];
        const int count = field->draws == DR_FIELD_YES ? field_values(field, value) : 0;
        for (int v = 0; v < count; v++) {
            dr_job *job = base_job();
            if (!field_holds(job, field, &value[v])) {
                set(job, field, &value[v]);
                digest[jobs++] = dr_job_picture_digest(job, 0);
            }
            dr_job_free(job);
        }
    }
    assert_true(jobs > 20 && jobs < JOBS_MAX);
    for (int i = 0; i < jobs; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(&digest[i], &digest[j], sizeof(digest[i]));
}

static dr_job *job_with(const char *name, const char *value)
{
    dr_job *job = base_job();

    assert_int_equal(dr_job_set_text(job, dr_job_field_find(name), value, NULL, NULL), DR_OK);
    return job;
}

static dr_job_digest picture_of(const char *name, const char *value, int image)
{
    dr_job *job = job_with(name, value);
    const dr_job_digest digest = dr_job_picture_digest(job, image);

    dr_job_free(job);
    return digest;
}

static void assert_same(dr_job_digest a, dr_job_digest b)
{
    assert_memory_equal(a.bytes, b.bytes, sizeof(a.bytes));
}

static void a_guidance_that_guides_nothing_draws_as_1_does(void **state)
{
    (void)state;
    assert_same(picture_of("guidance_scale", "0", 0), picture_of("guidance_scale", "1", 0));
    assert_same(picture_of("guidance_scale", "0.5", 0), picture_of("guidance_scale", "1", 0));
}

static void image_i_has_the_seed_plus_i(void **state)
{
    (void)state;
    assert_same(picture_of("seed", "17", 1), picture_of("seed", "18", 0));
    assert_same(picture_of("seed", "18446744073709551615", 1), picture_of("seed", "0", 0));
}

/* The keys that other programs read in the text of a picture's file. */
static void the_text_has_these_keys_and_values(void **state)
{
    json_t *known = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:s, s:i, s:s}", "model", "tiny",
                              "task", "text_to_image", "prompt", "a red fox", "negative_prompt", "blurry",
                              "width", 128, "height", 72, "steps", 3, "guidance_scale", 7.25, "sampler",
                              "euler", "seed", 18, "model_fingerprint", "0123456789abcdef");
    dr_job *job = base_job();
    dr_picture_texts texts;
    const char *key;
    json_t *text, *value;
    (void)state;

    assert_int_equal(dr_picture_texts_make(&texts, job, 1, "0123456789abcdef", NULL), DR_OK);
    text = json_loads(texts.json, 0, NULL);
    json_object_foreach(known, key, value) if (!json_equal(value, json_object_get(text, key)))
        fail_msg("%s: %s", key, texts.json);
    json_decref(known);
    json_decref(text);
    dr_picture_texts_free(&texts);
    dr_job_free(job);
}

/* Fields with which the engine can not run two jobs in one batch, and fields with which it can. */
static void jobs_part_by_these_fields_and_by_no_others(void **state)
{
    static const struct {
        const char *name, *value;
        bool batches;
    } cases[] = {
        { "model", "big", true },         { "width", "64", true },      { "height", "64", true },
        { "steps", "4", true },           { "prompt", "a dog", false }, { "negative_prompt", "dark", false },
        { "guidance_scale", "1", false }, { "sampler", "ddim", false }, { "seed", "18", false },
        { "images", "1", false },         { "format", "webp", false },  { "priority", "1", false },
    };
    dr_job *base = base_job();
    const dr_job_digest digest = dr_job_batch_digest(base);
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_job *job = job_with(cases[i].name, cases[i].value);
        const dr_job_digest other = dr_job_batch_digest(job);
        if ((memcmp(digest.bytes, other.bytes, sizeof(other.bytes)) != 0) != cases[i].batches)
            fail_msg("another %s: %s", cases[i].name, cases[i].batches ? "shares" : "does not share");
        dr_job_free(job);
    }
    dr_job_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_its_decisions),
        cmocka_unit_test(a_column_is_what_the_field_does),
        cmocka_unit_test(no_two_jobs_share_a_picture),
        cmocka_unit_test(a_guidance_that_guides_nothing_draws_as_1_does),
        cmocka_unit_test(image_i_has_the_seed_plus_i),
        cmocka_unit_test(the_text_has_these_keys_and_values),
        cmocka_unit_test(jobs_part_by_these_fields_and_by_no_others),
    };
    return cmocka_run_group_tests_name("job_effects", tests, NULL, NULL);
}
