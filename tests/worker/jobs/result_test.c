/* Results to bytes and back: pictures, refusals, and whatever a bad job puts into them. */
#include "darkroom/v1/result.pb-c.h"
#include "worker/jobs/job_fields.h"
#include "worker/jobs/result.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dr_job *job_of(const char *line, dr_refusal *refusal, dr_error *err)
{
    dr_job *job;
    dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, refusal, err);
    assert_non_null(job);
    return job;
}

static dr_result *over_the_wire(const dr_result *result)
{
    dr_result *back;
    void *bytes;
    size_t size;

    assert_int_equal(dr_result_encode(result, "worker-0", &bytes, &size, NULL), DR_OK);
    for (size_t cut = 0; cut < size; cut += 1 + size / 64) { /* truncated: an error, never a crash */
        if (dr_result_decode(&back, bytes, cut, NULL) == DR_OK)
            dr_result_free(back);
    }
    assert_int_equal(dr_result_decode(&back, bytes, size, NULL), DR_OK);
    free(bytes);
    return back;
}

static void pictures_survive_the_wire(void **state)
{
    dr_result *result = dr_result_create(
        job_of("{\"id\":\"a\",\"model\":\"m\",\"seed\":18446744073709551615,\"images\":2}", NULL, NULL));
    dr_result *back;
    (void)state;

    result->pictures = 2;
    for (int i = 0; i < 2; i++) {
        result->picture[i] = (dr_rendition){ .bytes = strdup("bytes"),
                                             .size = 5,
                                             .format = DR_WEBP,
                                             .width = 64,
                                             .height = 72,
                                             .seed = result->job->seed + (uint64_t)i };
        memset(result->picture[i].sha256, 'a', 64);
    }
    result->batch_samples = 4;
    result->denoise_ns = 1234567000;
    strcpy(result->model_fingerprint, "f00d");
    strcpy(result->arithmetic, "cpu generic");
    result->warnings.count = 2;
    strcpy(result->warnings.text[0], "prompt: one");
    strcpy(result->warnings.text[1], "prompt: two");
    back = over_the_wire(result);
    assert_string_equal(dr_result_state_name(back), "succeeded");
    assert_int_equal(back->pictures, 2);
    assert_memory_equal(back->picture[1].bytes, "bytes", 5);
    assert_int_equal(back->picture[1].size, 5);
    assert_int_equal(back->picture[1].format, DR_WEBP);
    assert_int_equal(back->picture[1].height, 72);
    assert_true(back->picture[0].seed == UINT64_MAX);
    assert_true(back->picture[1].seed == 0); /* modulo 2^64 */
    assert_string_equal(back->picture[0].sha256, result->picture[0].sha256);
    assert_true(back->denoise_ns == 1234567000);
    assert_int_equal(back->batch_samples, 4);
    assert_string_equal(back->model_fingerprint, "f00d");
    assert_string_equal(back->arithmetic, "cpu generic");
    assert_int_equal(back->warnings.count, 2);
    assert_string_equal(back->warnings.text[0], "prompt: one");
    assert_string_equal(back->warnings.text[1], "prompt: two");
    const char *const files[] = { "a@0.webp", "a@1.webp" };
    char *line = dr_result_json(back, files);
    assert_non_null(strstr(line, "\"warnings\":[\"prompt: one\",\"prompt: two\"]"));
    free(line);
    assert_true(back->job->seed == UINT64_MAX);
    assert_int_equal(back->job->steps, 50); /* the defaults that were used are in it */
    dr_result_free(result);
    dr_result_free(back);
}

static void refusals_survive_the_wire(void **state)
{
    dr_refusal refusal;
    dr_error err;
    dr_job *job = job_of("{\"id\":\"a/../b\",\"model\":\"m\"}", &refusal, &err);
    dr_result *result = dr_result_failed(job, &err, &refusal), *back;
    (void)state;

    /* A text that was cut inside a character must still make a message that others can read. */
    memset(result->error.text, 'a', sizeof(result->error.text));
    memcpy(result->error.text + sizeof(result->error.text) - 3, "\xf0\x9f", 3);
    back = over_the_wire(result);
    assert_string_equal(dr_result_state_name(back), "failed");
    assert_string_equal(back->job->id, "a/../b");
    assert_int_equal(back->error.status, DR_EINVAL);
    assert_string_equal(back->refusal.field, "id");
    assert_string_equal(back->refusal.allowed, refusal.allowed);
    assert_string_equal(back->error.text + strlen(back->error.text) - 3, "a??");
    dr_result_free(result);
    dr_result_free(back);
}

static void every_status_has_a_code_and_a_state(void **state)
{
    (void)state;
    for (int status = DR_EINVAL; status <= DR_EEXPIRED; status++) {
        dr_error err;
        dr_fail(&err, (dr_status)status, "text");
        dr_result *result =
            dr_result_failed(job_of("{\"id\":\"a\",\"model\":\"m\"}", NULL, NULL), &err, NULL);
        dr_result *back = over_the_wire(result);
        assert_int_equal(back->error.status, status);
        assert_int_equal(back->error.retriable, err.retriable);
        assert_string_equal(dr_result_state_name(back), status == DR_ECANCELED  ? "canceled"
                                                        : status == DR_EEXPIRED ? "expired"
                                                                                : "failed");
        dr_result_free(result);
        dr_result_free(back);
    }
}

static void the_line_can_be_read(void **state)
{
    static const char *const files[] = { "a.png" };
    dr_result *result = dr_result_create(
        job_of("{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"\\\"quoted\\\"\\n\",\"guidance_scale\":3.3,"
               "\"seed\":18446744073709551615}",
               NULL, NULL));
    const char *prompt, *seed, *file, *state_name;
    json_t *json;
    double guidance;
    char *line;
    (void)state;

    result->pictures = 1;
    result->picture[0].seed = 5;
    line = dr_result_json(result, files);
    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    json = json_loads(line, 0, NULL);
    assert_int_equal(json_unpack(json, "{s:s, s:{s:s, s:s, s:F}, s:[{s:s}]}", "state", &state_name, "job",
                                 "prompt", &prompt, "seed", &seed, "guidance_scale", &guidance, "pictures",
                                 "file", &file),
                     0);
    assert_string_equal(prompt, "\"quoted\"\n");
    assert_string_equal(seed, "18446744073709551615");
    assert_true((float)guidance == 3.3f);
    assert_string_equal(file, "a.png");
    json_decref(json);
    free(line);
    dr_result_free(result);
}

/* Otherwise the pictures of the result would be kept under another job's name. */
static void a_result_of_another_job_is_none(void **state)
{
    dr_result *result = dr_result_create(job_of("{\"id\":\"a\",\"model\":\"m\"}", NULL, NULL)), *back;
    Darkroom__V1__Result *message;
    void *bytes;
    size_t size;
    dr_error err;
    (void)state;

    result->pictures = 1;
    result->picture[0] = (dr_rendition){ .bytes = strdup("bytes"), .size = 5, .width = 64, .height = 64 };
    assert_int_equal(dr_result_encode(result, "worker-0", &bytes, &size, NULL), DR_OK);
    message = darkroom__v1__result__unpack(NULL, size, bytes);
    assert_string_equal(message->job->id, "a");
    message->job->id[0] = 'b';
    darkroom__v1__result__pack(message, bytes);
    darkroom__v1__result__free_unpacked(message, NULL);
    assert_int_equal(dr_result_decode(&back, bytes, size, &err), DR_EFORMAT);
    assert_null(back);
    assert_non_null(strstr(err.text, "two jobs, a and b"));
    free(bytes);
    dr_result_free(result);
}

static void garbage_is_no_result(void **state)
{
    uint8_t bytes[64];
    uint32_t random = 1;
    dr_result *back;
    (void)state;

    for (int round = 0; round < 5000; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(random >> 24);
        }
        assert_int_not_equal(dr_result_decode(&back, bytes, sizeof(bytes), NULL), DR_OK);
        assert_null(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_survive_the_wire),           cmocka_unit_test(refusals_survive_the_wire),
        cmocka_unit_test(every_status_has_a_code_and_a_state), cmocka_unit_test(the_line_can_be_read),
        cmocka_unit_test(a_result_of_another_job_is_none),     cmocka_unit_test(garbage_is_no_result),
    };
    return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
