/* libdarkroom behind the pipeline, with the small models of the goldens.  The other jobs of a batch change
 * no bit of a picture, and a job that a model cannot do gets an error that says so. */
#include "worker/engine/model_folders.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char MODELS[] = "tests/goldens/models";

enum { RESULTS_MAX = 64 };

typedef struct outcome {
    pthread_mutex_t lock;
    dr_result *result[RESULTS_MAX];
    int results;
} outcome;

static void keep_result(void *arg, dr_result *result)
{
    outcome *o = arg;
    pthread_mutex_lock(&o->lock);
    o->result[o->results++] = result;
    pthread_mutex_unlock(&o->lock);
}

static dr_pipeline *start(outcome *o, int batch_max)
{
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "cpu" },
                    .models_dir = MODELS,
                    .batch_max = batch_max,
                    .models_max = 1 },
        .jobs_max = RESULTS_MAX,
        .on_result = keep_result,
        .arg = o,
    };
    dr_pipeline *p;
    dr_error err;

    *o = (outcome){ .results = 0 };
    pthread_mutex_init(&o->lock, NULL);
    if (dr_pipeline_start(&p, &options, &err))
        fail_msg("%s", err.text);
    return p;
}

static void submit(dr_pipeline *p, const char *line)
{
    dr_error err;
    dr_job *job;
    if (dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, &err))
        fail_msg("%s", err.text);
    assert_true(dr_pipeline_submit(p, job));
}

static void stop(dr_pipeline *p, outcome *o)
{
    dr_pipeline_stop(p);
    for (int i = 0; i < o->results; i++)
        dr_result_free(o->result[i]);
    pthread_mutex_destroy(&o->lock);
}

static const dr_result *find(const outcome *o, const char *id)
{
    for (int i = 0; i < o->results; i++)
        if (strcmp(o->result[i]->job->id, id) == 0)
            return o->result[i];
    fail_msg("no result of %s", id);
    return NULL;
}

/* Different samplers, guidance (one row or two), seeds and prompts, all of which may share a run. */
static const char *const jobs[] = {
    "{\"id\":\"a\",\"model\":\"sd1\",\"width\":64,\"height\":72,\"steps\":4,\"seed\":1,\"prompt\":\"a red "
    "fox\"}",
    "{\"id\":\"b\",\"model\":\"sd1\",\"width\":64,\"height\":72,\"steps\":4,\"seed\":2,\"guidance_scale\":1}",
    "{\"id\":\"c\",\"model\":\"sd1\",\"width\":64,\"height\":72,\"steps\":4,\"seed\":3,\"sampler\":\"euler_"
    "a\","
    "\"images\":3}",
    "{\"id\":\"d\",\"model\":\"sd1\",\"width\":64,\"height\":72,\"steps\":4,\"seed\":5,\"sampler\":\"heun\","
    "\"negative_prompt\":\"blurry\"}",
    "{\"id\":\"e\",\"model\":\"sd1\",\"width\":64,\"height\":72,\"steps\":4,\"seed\":4,\"sampler\":\"euler_"
    "a\"}",
};
enum { JOBS = sizeof(jobs) / sizeof(jobs[0]) };

static void neighbours_change_no_bit(void **state)
{
    static const int sizes[] = { 1, 2, 3, 8 };
    char expected[JOBS][DR_IMAGES_MAX][65];
    int largest = 0;
    (void)state;

    for (int s = 0; s < 4; s++) {
        outcome o;
        dr_pipeline *p = start(&o, sizes[s]);
        for (int i = 0; i < JOBS; i++)
            submit(p, jobs[(i + s) % JOBS]);
        assert_true(dr_pipeline_drain(p, 60000));
        for (int i = 0; i < JOBS; i++) {
            const char id[] = { (char)('a' + i), 0 };
            const dr_result *r = find(&o, id);
            if (r->error.status)
                fail_msg("%s", r->error.text);
            largest = r->batch_samples > largest ? r->batch_samples : largest;
            for (int image = 0; image < r->pictures; image++) {
                if (s == 0)
                    memcpy(expected[i][image], r->picture[image].sha256, 65);
                assert_string_equal(r->picture[image].sha256, expected[i][image]);
            }
        }
        /* image 1 of job c is the picture of job e: its seed and all else are the same */
        assert_string_equal(expected[2][1], expected[4][0]);
        assert_string_not_equal(expected[2][0], expected[2][1]);
        stop(p, &o);
    }
    assert_true(largest >= 4); /* they did share a run */
}

enum { SIDE = 64, STEPS = 6 };

/* The picture of a sample that is alone in its run, or that has a second sample in the place before or after
 * it.  The second sample leaves after `left_at` steps. */
static void draw_mate(uint8_t *rgb, int left_at, bool victim_first)
{
    const dr_engine_options options = {
        .device = { .name = "cpu" }, .models_dir = MODELS, .batch_max = 4, .models_max = 1
    };
    const char *lines[] = {
        "{\"id\":\"mate\",\"model\":\"sd1\",\"width\":64,\"height\":64,\"steps\":6,\"seed\":1,\"sampler\":"
        "\"euler_a\"}",
        "{\"id\":\"victim\",\"model\":\"sd1\",\"width\":64,\"height\":64,\"steps\":6,\"seed\":2,\"prompt\":"
        "\"a fox\"}",
    };
    dr_job *job[2];
    int sample[2], picture;
    bool more = true;
    dr_engine *e;

    assert_int_equal(dr_engine_open(&e, &options, NULL), DR_OK);
    for (int i = 0; i < 2; i++) {
        dr_refusal refusal;
        assert_int_equal(dr_job_parse(&job[i], &(dr_job_line){ .text = lines[i], .size = strlen(lines[i]) },
                                      NULL, NULL),
                         DR_OK);
        assert_int_equal(dr_engine_prepare(e, job[i], &refusal, NULL), DR_OK);
    }
    assert_int_equal(dr_engine_begin(e, job[0], 2, NULL), DR_OK);
    for (int i = 0; i < 2; i++) {
        const int who = victim_first ? 1 - i : i;
        if (who == 0 || left_at > 0)
            assert_int_equal(dr_engine_add(e, job[who], 0, &sample[who], NULL), DR_OK);
    }
    for (int step = 1; more; step++) {
        assert_int_equal(dr_engine_step(e, &more, NULL), DR_OK);
        if (step == left_at)
            dr_engine_drop(e, sample[1]);
        assert_true(step <= STEPS);
    }
    assert_int_equal(dr_engine_begin_picture(e, sample[0], &picture, NULL), DR_OK);
    assert_int_equal(dr_engine_end_picture(e, picture, rgb, NULL), DR_OK);
    dr_engine_end(e);
    dr_engine_close(e);
    for (int i = 0; i < 2; i++)
        dr_job_free(job[i]);
}

static void who_leaves_a_batch_changes_no_bit(void **state)
{
    static uint8_t alone[SIDE * SIDE * 3], left[SIDE * SIDE * 3];
    (void)state;

    draw_mate(alone, 0, false);
    for (int left_at = 1; left_at < STEPS; left_at += 2)
        for (int first = 0; first < 2; first++) {
            memset(left, 0, sizeof(left));
            draw_mate(left, left_at, first);
            assert_memory_equal(left, alone, sizeof(alone));
        }
}

static void a_result_says_what_was_used(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 2);
    (void)state;

    submit(p, "{\"id\":\"a\",\"model\":\"sd1\",\"steps\":1,\"guidance_scale\":1,\"width\":64,\"height\":64}");
    assert_true(dr_pipeline_drain(p, 60000));
    const dr_result *r = find(&o, "a");
    assert_int_equal(r->error.status, DR_OK);
    assert_int_equal(r->job->sampler, DR_SAMPLER_PNDM); /* the model's own */
    assert_int_equal(strlen(r->model_fingerprint), 64);
    assert_memory_equal(r->arithmetic, "cpu ", 4);
    stop(p, &o);
}

/* Tokens are counted by the model's own tokenizer. */
static void a_prompt_that_is_cut_is_told(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 2);
    char line[1024], prompt[256] = "";
    (void)state;

    for (int i = 0; i < 76; i++)
        strcat(prompt, "! ");
    snprintf(line, sizeof(line),
             "{\"id\":\"long\",\"model\":\"sd1\",\"steps\":1,\"width\":64,\"height\":64,\"prompt\":\"%s\"}",
             prompt);
    submit(p, line);
    prompt[2 * 75] = 0;
    snprintf(line, sizeof(line),
             "{\"id\":\"fits\",\"model\":\"sd1\",\"steps\":1,\"width\":64,\"height\":64,\"prompt\":\"%s\"}",
             prompt);
    submit(p, line);
    assert_true(dr_pipeline_drain(p, 60000));
    assert_int_equal(find(&o, "long")->warnings.count, 1);
    assert_string_equal(find(&o, "long")->warnings.text[0],
                        "prompt: 76 tokens, of which the model reads the first 75");
    assert_int_equal(find(&o, "fits")->warnings.count, 0);
    stop(p, &o);
}

static void what_a_model_cannot_do_is_told(void **state)
{
    static const struct {
        const char *line;
        dr_status status;
        const char *field, *says;
    } cases[] = {
        { "{\"id\":\"0\",\"model\":\"none\"}", DR_ENOTFOUND, "model", "inpaint, sd1, sd2, upscale" },
        { "{\"id\":\"1\",\"model\":\"upscale\"}", DR_EUNSUPPORTED, "model", "another task" },
    };
    outcome o;
    dr_pipeline *p = start(&o, 8);
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        submit(p, cases[i].line);
    submit(p, jobs[1]);
    assert_true(dr_pipeline_drain(p, 60000));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char id[] = { (char)('0' + i), 0 };
        const dr_result *r = find(&o, id);
        assert_int_equal(r->error.status, cases[i].status);
        assert_string_equal(r->refusal.field, cases[i].field);
        if (!strstr(r->error.text, cases[i].says))
            fail_msg("%s", r->error.text);
    }
    assert_int_equal(find(&o, "b")->error.status, DR_OK);
    stop(p, &o);
}

static void a_broken_model_fails_its_jobs_only(void **state)
{
    char folder[] = "/tmp/darkroom-engine-XXXXXX", command[256];
    const dr_engine_options options = {
        .device = { .name = "cpu" }, .models_dir = folder, .batch_max = 1, .models_max = 1
    };
    dr_refusal refusal = { "", "" };
    dr_engine *e;
    dr_error err;
    dr_job *job;
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command),
             "cp -r %s/sd1 %s/cut && truncate -s 1000 %s/cut/unet/diffusion_pytorch_model.safetensors && "
             "mkdir %s/empty",
             MODELS, folder, folder, folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(dr_engine_open(&e, &options, &err), DR_OK);
    for (int i = 0; i < 2; i++) {
        const char *line = i ? "{\"id\":\"a\",\"model\":\"empty\"}" : "{\"id\":\"a\",\"model\":\"cut\"}";
        assert_int_equal(dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, NULL),
                         DR_OK);
        assert_int_not_equal(dr_engine_prepare(e, job, &refusal, &err), DR_OK);
        assert_string_equal(refusal.field, "model");
        if (!strstr(err.text, i ? "model_index.json" : "unet/diffusion_pytorch_model.safetensors"))
            fail_msg("%s", err.text);
        dr_job_free(job);
    }
    dr_engine_close(e);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void models_come_and_go(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 4); /* one model is kept loaded */
    (void)state;

    for (int i = 0; i < 4; i++) {
        char line[160];
        snprintf(line, sizeof(line),
                 "{\"id\":\"%d\",\"model\":\"%s\",\"width\":64,\"height\":64,\"steps\":1,\"priority\":%d,"
                 "\"seed\":1}",
                 i, i % 2 ? "sd2" : "sd1", -i);
        submit(p, line);
    }
    assert_true(dr_pipeline_drain(p, 60000));
    for (int i = 0; i < 4; i++)
        assert_int_equal(o.result[i]->error.status, DR_OK);
    assert_string_equal(find(&o, "0")->picture[0].sha256, find(&o, "2")->picture[0].sha256);
    assert_string_not_equal(find(&o, "0")->model_fingerprint, find(&o, "1")->model_fingerprint);
    stop(p, &o);
}

static void names_are_listed(void **state)
{
    dr_model_names names;
    char text[20];
    dr_error err;
    (void)state;

    assert_int_equal(dr_model_names_read(&names, MODELS, NULL), DR_OK);
    assert_true(names.count >= 4);
    assert_string_equal(names.name[1], "sd1");
    dr_model_names_text(&names, text, sizeof(text));
    assert_string_equal(text, "inpaint, sd1, ...");
    dr_model_names_free(&names);
    assert_int_equal(dr_model_names_read(&names, "/no/such/place", &err), DR_ENOTFOUND);
    assert_non_null(strstr(err.text, "/no/such/place"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_change_no_bit),
        cmocka_unit_test(who_leaves_a_batch_changes_no_bit),
        cmocka_unit_test(a_result_says_what_was_used),
        cmocka_unit_test(a_prompt_that_is_cut_is_told),
        cmocka_unit_test(what_a_model_cannot_do_is_told),
        cmocka_unit_test(a_broken_model_fails_its_jobs_only),
        cmocka_unit_test(models_come_and_go),
        cmocka_unit_test(names_are_listed),
    };
    dr_error err;
    int failed;

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    if (dr_pictures_start(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    failed = cmocka_run_group_tests_name("engine", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
