/* The worker's engine on a device whose memory is too small for all of its models.  Models that are not
 * needed are unloaded.  If that is not enough, the job is told how much memory would have been.  Run from
 * the repository's root. */
#include "tests/cuda/fake/runtime.h"
#include "tests/cuda/shim/run.h"
#include "worker/engine/engine.h"
#include "worker/support/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MODELS_MAX = 2 };

static dr_engine *open_engine(void)
{
    const dr_engine_options options = { .device = { .name = "cuda:0", .storage = "bf16" },
                                        .models_dir = "tests/goldens/models",
                                        .batch_max = 4,
                                        .models_max = MODELS_MAX };
    dr_engine *e;
    dr_error err;

    fake_cuda_reset();
    if (dr_engine_open(&e, &options, &err))
        fail_msg("%s", err.text);
    return e;
}

static void close_engine(dr_engine *e)
{
    dr_engine_close(e);
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.graphs, 0);
}

static dr_job *job_of(const char *model)
{
    char line[160];
    dr_error err;
    dr_job *job;

    snprintf(line, sizeof(line),
             "{\"id\":\"a\",\"model\":\"%s\",\"prompt\":\"a dog\",\"width\":64,\"height\":64,\"steps\":1}",
             model);
    if (dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, &err))
        fail_msg("%s", err.text);
    return job;
}

static dr_status prepare(dr_engine *e, const char *model, dr_refusal *refusal, dr_error *err)
{
    dr_job *job = job_of(model);
    const dr_status rc = dr_engine_prepare(e, job, refusal, err);

    dr_job_free(job);
    return rc;
}

static void load(dr_engine *e, const char *model)
{
    dr_refusal refusal;
    dr_error err;

    if (prepare(e, model, &refusal, &err))
        fail_msg("%s", err.text);
}

/* How many bytes of the device's memory the model takes. */
static size_t bytes_of(const char *model)
{
    dr_engine *e = open_engine();
    const size_t before = fake_cuda.free_bytes;

    load(e, model);
    const size_t bytes = before - fake_cuda.free_bytes;
    close_engine(e);
    return bytes;
}

static void a_model_that_has_no_room_takes_that_of_the_others(void **state)
{
    const size_t sd1 = bytes_of("sd1"), sd2 = bytes_of("sd2"), larger = sd1 > sd2 ? sd1 : sd2;
    dr_engine *e = open_engine();
    (void)state;

    assert_true(sd1 > 0 && sd2 > 0);
    fake_cuda.free_bytes = sd1 + sd2;
    load(e, "sd1");
    load(e, "sd2");
    assert_int_equal(fake_cuda.free_bytes, 0); /* there was room for both models, so both are loaded */
    close_engine(e);

    e = open_engine();
    fake_cuda.free_bytes = larger;
    for (int i = 0; i < 2; i++) {
        load(e, "sd1");
        assert_int_equal(fake_cuda.free_bytes, larger - sd1);
        load(e, "sd2");
        assert_int_equal(fake_cuda.free_bytes, larger - sd2);
    }
    close_engine(e);
}

/* One byte of memory is missing.  Other models are unloaded in vain, and the engine still works. */
static void a_model_that_fits_nowhere_says_how_much_it_needs(void **state)
{
    const size_t sd1 = bytes_of("sd1"), sd2 = bytes_of("sd2"), left = sd2 - 1;
    dr_engine *e = open_engine();
    dr_refusal refusal = { "", "" };
    char cause[128];
    dr_error err;
    (void)state;

    load(e, "sd1");
    assert_true(left > sd1);
    fake_cuda.free_bytes = left - sd1;
    assert_int_equal(prepare(e, "sd2", &refusal, &err), DR_ENOMEM);
    assert_true(err.retriable);
    assert_string_equal(refusal.field, "model");
    snprintf(cause, sizeof(cause), "its weights take about %zu MiB, and %zu MiB were left", (sd2 >> 20) + 1,
             left >> 20);
    if (!strstr(err.text, "models/sd2: ") || !strstr(err.text, cause) || !strstr(err.text, "cuda:0: no ") ||
        !strstr(err.text, " MiB are in use, and 0 MiB are free on the device"))
        fail_msg("%s", err.text);
    assert_int_equal(fake_cuda.free_bytes,
                     left); /* sd1 was unloaded, and the memory of the model that was begun was given back */
    fake_cuda.free_bytes++;
    load(e, "sd2");
    close_engine(e);
}

static void a_batch_that_has_no_room_takes_that_of_other_models(void **state)
{
    dr_engine *e = open_engine();
    dr_job *job = job_of("sd1");
    dr_refusal refusal;
    dr_error err;
    int sample;
    bool more;
    (void)state;

    load(e, "sd2");
    assert_int_equal(dr_engine_prepare(e, job, &refusal, &err), DR_OK);
    fake_cuda.free_bytes = 0;
    if (dr_engine_begin(e, job, 1, &err) || dr_engine_add(e, job, 0, &sample, &err) ||
        dr_engine_step(e, &more, &err))
        fail_msg("%s", err.text);
    dr_engine_end(e);
    load(e, "sd1"); /* which stayed */
    fake_cuda.free_bytes = 0;
    assert_int_equal(dr_engine_begin(e, job, 4, &err), DR_ENOMEM); /* no model is left to unload */
    dr_job_free(job);
    close_engine(e);
}

/* Draws the job, and begins its picture. */
static int begin_picture(dr_engine *e, dr_job *job)
{
    dr_refusal refusal;
    dr_error err;
    int sample, picture;
    bool more;

    if (dr_engine_prepare(e, job, &refusal, &err) || dr_engine_begin(e, job, 1, &err) ||
        dr_engine_add(e, job, 0, &sample, &err) || dr_engine_step(e, &more, &err) ||
        dr_engine_begin_picture(e, sample, &picture, &err))
        fail_msg("%s", err.text);
    dr_engine_end(e);
    return picture;
}

/* A picture that is under way is waited for when its run or its model goes.  It can still be fetched
 * afterwards. */
static void pictures_outlive_their_run(void **state)
{
    enum { SIDE = 16, BYTES = SIDE * SIDE * 3 };
    static const char *const later[] = { NULL, "sd1",
                                         "sd2" }; /* what comes next: nothing, another size, another model */
    const size_t sd2 = bytes_of("sd2");
    dr_job *job = job_of("sd1");
    uint8_t rgb[3][BYTES];
    (void)state;

    job->width = job->height = SIDE;
    for (int i = 0; i < 3; i++) {
        dr_engine *e = open_engine();
        const int picture = begin_picture(e, job);
        dr_error err;

        if (later[i]) {
            dr_job *other = job_of(later[i]);
            other->width = other->height = 8;
            if (i == 2)
                fake_cuda.free_bytes = sd2 - 1; /* sd1 has to be unloaded */
            const int second = begin_picture(e, other);
            assert_true(dr_engine_picture_ready(e, picture));
            assert_true(second != picture); /* and nobody fetches this picture */
            dr_job_free(other);
        }
        if (dr_engine_end_picture(e, picture, rgb[i], &err))
            fail_msg("%s", err.text);
        assert_memory_equal(rgb[i], rgb[0], BYTES);
        close_engine(e);
    }
    dr_job_free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_has_no_room_takes_that_of_the_others),
        cmocka_unit_test(a_model_that_fits_nowhere_says_how_much_it_needs),
        cmocka_unit_test(a_batch_that_has_no_room_takes_that_of_other_models),
        cmocka_unit_test(pictures_outlive_their_run),
    };

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    return cmocka_run_group_tests_name("an engine that is short of memory", tests, NULL, NULL);
}
