/* Folders of models as others make them, through the worker's engine: each is a golden model with some files changed. */
#include "tests/temp_folder.h"
#include "worker/engine.h"

static temp_folder models;

/* A model below models.path as tests/goldens/models/sd1 is, by links: a part is a folder of its own. */
static void make_model(const char *name)
{
    char command[512];

    snprintf(command, sizeof(command), "mkdir -p '%s' && cp -rs \"$PWD\"/tests/goldens/models/sd1 '%s/%s'",
             models.path, models.path, name);
    assert_int_equal(system(command), 0);
}

static void write_file(const char *name, const char *text)
{
    remove(temp_path(&models, name)); /* a link into the goldens */
    temp_write(&models, name, text, strlen(text));
}

/* In a file of a model, `from` (which is there) becomes `to`. */
static void change(const char *name, const char *from, const char *to)
{
    char text[1 << 14], *at;
    FILE *f = fopen(temp_path(&models, name), "rb");
    size_t bytes;
    char changed[1 << 14];

    assert_non_null(f);
    bytes = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[bytes] = '\0';
    at = strstr(text, from);
    if (!at)
        fail_msg("%s: no %s", name, from);
    snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_file(name, changed);
}

static dr_engine *open_engine(void)
{
    const dr_engine_options options = {
        .device = "cpu", .models_dir = models.path, .batch_max = 1, .models_max = 1, .threads = 1
    };
    dr_engine *e;
    dr_error err;

    if (dr_engine_open(&e, &options, &err))
        fail_msg("%s", err.text);
    return e;
}

static dr_job *parse(const char *line)
{
    dr_error err;
    dr_job *job;

    if (dr_job_parse(&job, line, strlen(line), NULL, NULL, &err))
        fail_msg("%s: %s", line, err.text);
    return job;
}

static dr_job *prepare(dr_engine *e, const char *line)
{
    dr_refusal refusal = { "", "" };
    dr_job *job = parse(line);
    dr_error err;

    if (dr_engine_prepare(e, job, &refusal, &err))
        fail_msg("%s: %s", line, err.text);
    return job;
}

/* Preparing fails; *err says why. */
static dr_refusal refuse(dr_engine *e, const char *line, dr_error *err)
{
    dr_refusal refusal = { "", "" };
    dr_job *job = parse(line);

    if (!dr_engine_prepare(e, job, &refusal, err))
        fail_msg("%s is taken", line);
    assert_null(strchr(err->text, '\n'));
    dr_job_free(job);
    return refusal;
}

/* --- sizes and samplers --------------------------------------------------------------------- */

static void a_pair_is_height_and_width(void **state)
{
    dr_engine *e = open_engine();
    dr_job *job;
    (void)state;

    make_model("pair");
    change("pair/unet/config.json", "\"sample_size\": 64", "\"sample_size\": [32, 48]");
    job = prepare(e, "{\"id\":\"a\",\"model\":\"pair\"}");
    assert_int_equal(job->height, 32 * 8);
    assert_int_equal(job->width, 48 * 8);
    dr_job_free(job);
    dr_engine_close(e);
}

static void a_scheduler_that_we_lack_needs_a_sampler(void **state)
{
    dr_engine *e = open_engine();
    dr_refusal refusal;
    dr_error err;
    dr_job *job;
    (void)state;

    make_model("deis");
    change("deis/model_index.json", "PNDMScheduler", "DEISMultistepScheduler");
    refusal = refuse(e, "{\"id\":\"a\",\"model\":\"deis\"}", &err);
    assert_string_equal(refusal.field, "sampler");
    assert_non_null(strstr(refusal.allowed, "euler_a"));
    assert_non_null(strstr(err.text, "DEISMultistepScheduler"));
    assert_false(err.retriable);
    job = prepare(e, "{\"id\":\"b\",\"model\":\"deis\",\"sampler\":\"euler\"}");
    assert_int_equal(job->sampler, DR_SAMPLER_EULER);
    dr_job_free(job);
    dr_engine_close(e);
}

static int open_temp(void **state)
{
    (void)state;
    temp_open(&models);
    return 0;
}

static int close_temp(void **state)
{
    (void)state;
    temp_close(&models);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_height_and_width),
        cmocka_unit_test(a_scheduler_that_we_lack_needs_a_sampler),
    };

    return cmocka_run_group_tests_name("model_folders", tests, open_temp, close_temp);
}
