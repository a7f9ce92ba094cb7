/* The pipeline on the null device: batches, and failures that do not spread to other jobs. */
#include "tests/worker/pipeline/pipeline_fixture.h"

static void jobs_that_wait_run_together(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 20000);
    (void)state;

    submit_head(p, &o, job("first", "a", "")); /* an idle device takes it at once */
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, id, ""));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 9);
    assert_int_equal(find(&o, "first")->batch_samples, 1);
    assert_int_equal(find(&o, "j0")->batch_samples, 8);
    assert_int_equal(find(&o, "j7")->batch_samples, 8);
    assert_int_equal(o.queued, 9);
    assert_int_equal(o.started, 9);
    assert_int_equal(o.finished, 9);
    assert_true(o.steps >= 9); /* the last one is always told */
    assert_int_equal(o.last_step, 4);
    stop(p, &o);
}

static void neighbours_change_nothing(void **state)
{
    char alone[65];
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 0);
    (void)state;

    submit(p, job("a", "a red fox", "\"seed\":7"));
    assert_true(dr_pipeline_drain(p, 10000));
    memcpy(alone, find(&o, "a")->picture[0].sha256, sizeof(alone));
    stop(p, &o);
    p = start(&o, 32, 8, 1000);
    submit_head(p, &o, job("head", "first", ""));
    submit(p, job("x", "other", ""));
    submit(p, job("y", "!fail add", ""));
    submit(p, job("b", "a red fox", "\"seed\":7")); /* another id: the file does not know it */
    submit(p, job("z", "third", ""));
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "b")->batch_samples, 4); /* it has had neighbours */
    assert_int_equal(started_with(&o, "y"), 4);
    assert_string_equal(find(&o, "b")->picture[0].sha256, alone);
    assert_string_not_equal(find(&o, "z")->picture[0].sha256, alone);
    stop(p, &o);
}

static void a_bad_job_fails_alone(void **state)
{
    static const struct {
        const char *prompt;
        dr_status status;
        bool starts; /* with the others: 2 pictures beside their 4 */
    } bad[] = {
        { "!fail prepare", DR_EIO, false }, { "!missing", DR_ENOTFOUND, false },
        { "!fail add", DR_EINVAL, true },   { "!fail step", DR_EIO, true },
        { "!fail begin", DR_EIO, true },    { "!fail end", DR_EIO, true },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        outcome o;
        dr_pipeline *p = start(&o, 32, 8, 1000);
        submit_head(p, &o, job("head", "a", "")); /* the others wait behind it, and become one batch */
        submit(p, job("good-1", "b", ""));
        submit(p, job("bad", bad[i].prompt, "\"images\":2"));
        submit(p, job("good-2", "c", "\"images\":3"));
        go_on(&o);
        assert_true(dr_pipeline_drain(p, 10000));
        assert_int_equal(started_with(&o, "bad"), bad[i].starts ? 6 : 0);
        assert_int_equal(started_with(&o, "good-1"), bad[i].starts ? 6 : 4);
        assert_int_equal(started_with(&o, "good-2"), bad[i].starts ? 6 : 4);
        assert_int_equal(o.results, 4);
        assert_int_equal(find(&o, "bad")->error.status, bad[i].status);
        assert_int_equal(find(&o, "bad")->pictures, 0);
        assert_non_null(strstr(find(&o, "bad")->error.text, "job bad: "));
        assert_int_equal(find(&o, "good-1")->error.status, DR_OK);
        assert_int_equal(find(&o, "good-2")->error.status, DR_OK);
        assert_int_equal(find(&o, "good-2")->pictures, 3);
        stop(p, &o);
    }
}

static void a_lost_device_ends_every_job_with_that_status(void **state)
{
    static const char *const lost[] = { "head", "mate-1", "loses", "mate-2", "other", "late" };
    dr_error err = { .status = DR_OK };
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 5000);
    (void)state;

    assert_int_equal(dr_pipeline_lost(p, &err), DR_OK);
    submit_head(p, &o, job("head", "a", "\"steps\":150"));
    submit(p, job("mate-1", "b", ""));
    submit(p, job("loses", "!lose device", ""));
    submit(p, job("mate-2", "c", "\"images\":3"));
    submit(p, job("other", "d", "\"steps\":6")); /* of another batch, which waits */
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(dr_pipeline_lost(p, &err), DR_EDEVICE);
    assert_non_null(strstr(err.text, "the null device is lost"));
    assert_int_equal(started_with(&o, "loses"), 5); /* with its mates */
    assert_int_equal(started_with(&o, "other"), 0);
    submit(p, job("late", "e", ""));
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 6);
    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        assert_int_equal(find(&o, lost[i])->error.status, DR_EDEVICE);
        assert_int_equal(find(&o, lost[i])->pictures, 0);
        assert_int_equal(find(&o, lost[i])->device_lost,
                         i < 4); /* they ran then, or their pictures were under way */
    }
    stop(p, &o);
}

/* Pictures of a batch are taken while the next batch runs, each once.  If one cannot be taken, only its own
 * job fails. */
static void pictures_that_can_not_be_taken_fail_their_jobs(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 4, 1000);
    char id[16];
    (void)state;

    submit_head(p, &o, job("head", "a", "\"steps\":50"));
    for (int i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "job-%d", i);
        submit(p,
               job(id, i % 5 == 2 ? "!fail end" : "b", i % 3 ? "\"steps\":2" : "\"images\":6,\"steps\":2"));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 13);
    for (int i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "job-%d", i);
        const dr_result *r = find(&o, id);

        assert_int_equal(r->error.status, i % 5 == 2 ? DR_EIO : DR_OK);
        assert_int_equal(r->pictures, i % 5 == 2 ? 0 : i % 3 ? 1 : 6);
        assert_true(r->error.status || r->decode_ns > 0);
    }
    stop(p, &o);
}

static void a_device_lost_at_a_picture_is_told(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 4, 1000);
    dr_error err;
    (void)state;

    submit(p, job("loses", "!lose picture", ""));
    assert_true(dr_pipeline_drain(p, 10000)); /* it is taken though nothing follows */
    assert_int_equal(dr_pipeline_lost(p, &err), DR_EDEVICE);
    assert_int_equal(find(&o, "loses")->error.status, DR_EDEVICE);
    assert_true(find(&o, "loses")->device_lost);
    submit(p, job("late", "a", ""));
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "late")->error.status, DR_EDEVICE);
    assert_false(find(&o, "late")->device_lost);
    stop(p, &o);
}

static void who_may_have_lost_a_device_runs_alone(void **state)
{
    static const char *const suspects[] = { "suspect-1", "suspect-2" };
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 5000);
    dr_job *suspect;
    (void)state;

    submit_head(p, &o, job("head", "a", "\"steps\":150"));
    for (int i = 0; i < 2; i++) {
        suspect = job(suspects[i], "b", "\"images\":2");
        suspect->device_losses = 1;
        submit(p, suspect);
        submit(p, job(i ? "mate-2" : "mate-1", "c", ""));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(find(&o, suspects[i])->error.status, DR_OK);
        assert_int_equal(find(&o, suspects[i])->batch_samples, 2); /* its own */
        assert_int_equal(find(&o, i ? "mate-2" : "mate-1")->batch_samples, 2);
    }
    stop(p, &o);
}

static void images_count_up_from_the_seed(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 4, 2, 0); /* 5 pictures in runs of 2 */
    (void)state;

    submit(p, job("many", "a", "\"seed\":18446744073709551614,\"images\":5"));
    submit(p, job("one", "a", "\"seed\":1"));
    assert_true(dr_pipeline_drain(p, 10000));
    const dr_result *many = find(&o, "many");
    assert_int_equal(many->pictures, 5);
    assert_true(many->picture[1].seed == UINT64_MAX);
    assert_true(many->picture[3].seed == 1);
    assert_int_equal(many->batch_samples, 2);
    assert_string_equal(many->picture[3].sha256, find(&o, "one")->picture[0].sha256);
    assert_string_not_equal(many->picture[3].sha256, many->picture[4].sha256);
    assert_true(many->denoise_ns > 0 && many->decode_ns > 0 && many->encode_ns > 0);
    stop(p, &o);
}

static void stop_leaves_no_result_and_no_thread(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 64, 4, 20000);
    (void)state;

    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, "a", "\"steps\":100"));
    }
    usleep(30000);
    stop(p, &o); /* would take 40 s; the test would be killed */
    assert_int_equal(o.results, 0);
}

static void models_do_not_mix(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 16, 8, 20000);
    dr_job *other;
    (void)state;

    submit_head(p, &o, job("head", "a", ""));
    submit(p, job("m-1", "a", ""));
    other = job("n-1", "a", "");
    other->model[0] = 'n';
    submit(p, other);
    submit(p, job("m-2", "a", ""));
    submit(p, job("wide", "a", "\"quality\":50"));
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "m-1")->batch_samples, 3);
    assert_int_equal(find(&o, "n-1")->batch_samples, 1);
    stop(p, &o);
}

/* Every part of a prompt that is not supported is in the job's result.  The null device counts words. */
static void what_is_not_done_as_meant_is_in_the_result(void **state)
{
    static const struct {
        const char *prompt, *more, *first;
        int count;
    } cases[] = {
        { "a red fox (in the snow), 12:30", "", NULL, 0 },
        { "a (red:1.3) fox", "", "prompt: weights like (word:1.3)", 1 },
        { "a ((red: 2 )) fox", "", "prompt: weights like (word:1.3)", 1 },
        { "a (red:blue) fox :1.3)", "", "prompt: weights like (word:1.3)", 1 },
        { "red:1.3) fox (", "", NULL, 0 },
        { "a [red:blue:.5] fox", "", "prompt: changes like", 1 },
        { "a fox <lora:fur:0.8>", "", "prompt: other networks", 1 },
        { "a fox", "\"negative_prompt\":\"(bad:1.2)\"", "negative_prompt: weights", 1 },
        { "a fox", "\"negative_prompt\":\"(bad:1.2)\",\"guidance_scale\":1", NULL, 0 },
        { "a (red:1.3) fox <lora:fur:1> [a:b:3]", "\"negative_prompt\":\"(red:1.3) <lora:fur:1> [a:b:3]\"",
          "prompt: weights", 6 },
    };
    outcome o;
    dr_pipeline *p = start(&o, 64, 4, 100);
    char seventy_five[256] = "", seventy_six[256] = "a";
    (void)state;

    for (int i = 0; i < 75; i++) {
        strcat(seventy_five, " a");
        strcat(seventy_six, " a");
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        assert_true(dr_pipeline_submit(p, job(id, cases[i].prompt, cases[i].more)));
    }
    assert_true(dr_pipeline_submit(p, job("75", seventy_five, "")));
    assert_true(dr_pipeline_submit(p, job("76", seventy_six, "")));
    assert_true(dr_pipeline_drain(p, 60000));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        const dr_warnings *w = &find(&o, id)->warnings;
        if (w->count != cases[i].count ||
            (w->count && strncmp(w->text[0], cases[i].first, strlen(cases[i].first)) != 0))
            fail_msg("%s: %d, %s", cases[i].prompt, w->count, w->text[0]);
        assert_int_equal(find(&o, id)->error.status, DR_OK);
    }
    assert_int_equal(find(&o, "75")->warnings.count, 0);
    assert_string_equal(find(&o, "76")->warnings.text[0],
                        "prompt: 76 tokens, of which the model reads the first 75");
    stop(p, &o);
}

static void an_unknown_device_is_refused(void **state)
{
    outcome o = { 0 };
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "abacus" }, .models_dir = "build", .batch_max = 1, .models_max = 1 },
        .jobs_max = 1,
        .on_result = keep_result,
        .arg = &o,
    };
    dr_error err;
    dr_pipeline *p;
    (void)state;

    assert_int_not_equal(dr_pipeline_start(&p, &options, &err), DR_OK);
    assert_null(p);
    assert_non_null(strstr(err.text, "abacus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_that_wait_run_together),
        cmocka_unit_test(neighbours_change_nothing),
        cmocka_unit_test(a_bad_job_fails_alone),
        cmocka_unit_test(a_lost_device_ends_every_job_with_that_status),
        cmocka_unit_test(pictures_that_can_not_be_taken_fail_their_jobs),
        cmocka_unit_test(a_device_lost_at_a_picture_is_told),
        cmocka_unit_test(who_may_have_lost_a_device_runs_alone),
        cmocka_unit_test(images_count_up_from_the_seed),
        cmocka_unit_test(stop_leaves_no_result_and_no_thread),
        cmocka_unit_test(models_do_not_mix),
        cmocka_unit_test(what_is_not_done_as_meant_is_in_the_result),
        cmocka_unit_test(an_unknown_device_is_refused),
    };

    return cmocka_run_group_tests_name("pipeline", tests, begin_tests, end_tests);
}
