/* Folders of models as others make them, loaded by the worker's engine.  Each is a golden model with some
 * files changed. */
#include "tests/worker/program.h"
#include "worker/engine/engine.h"

#include <jansson.h>

static temp_folder models;

/* Make a model below models.path that is like tests/goldens/models/sd1.  Its files are links, its folders
 * are its own. */
static void make_model(const char *name)
{
    char command[512];

    snprintf(command, sizeof(command),
             "mkdir -p '%s/%s' && cp -rs \"$PWD\"/tests/goldens/models/sd1/* '%s/%s'", models.path, name,
             models.path, name);
    assert_int_equal(system(command), 0);
}

static void write_file(const char *name, const char *text)
{
    remove(temp_path(&models, name)); /* a link into the goldens */
    temp_write(&models, name, text, strlen(text));
}

/* Replace the text `from`, which must be there, by `to` in a file of a model. */
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
        .device = { .name = "cpu", .threads = 1 }, .models_dir = models.path, .batch_max = 1, .models_max = 1
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

    if (dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, &err))
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

/* --- failures ------------------------------------------------------------------------------- */

/* Write the file again, and give it the time of change that it had. */
static void rewrite_secretly(const char *name, const void *bytes, size_t count)
{
    struct timespec times[2];
    struct stat st;

    assert_int_equal(stat(temp_path(&models, name), &st), 0);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    temp_write(&models, name, bytes, count);
    assert_int_equal(utimensat(AT_FDCWD, models.file, times, 0), 0);
}

/* A model that could not be loaded is not read again for every job, as long as its files do not change. */
static void a_failed_model_is_tried_again_when_its_files_change(void **state)
{
    static const char name[] = "broken/unet/diffusion_pytorch_model.safetensors";
    dr_engine *e = open_engine();
    dr_error first, again;
    size_t bytes;
    void *good;
    (void)state;

    make_model("broken");
    assert_int_equal(dr_file_read("tests/goldens/models/sd1/unet/diffusion_pytorch_model.safetensors",
                                  1 << 24, &good, &bytes, NULL),
                     DR_OK);
    assert_int_equal(unlink(temp_path(&models, name)), 0); /* a link into the goldens */
    ((char *)good)[8] = '[';
    temp_write(&models, name, good, bytes);
    assert_string_equal(refuse(e, "{\"id\":\"a\",\"model\":\"broken\"}", &first).field, "model");
    assert_non_null(strstr(first.text, "does not begin with '{'"));
    ((char *)good)[8] = '{';
    rewrite_secretly(name, good, bytes); /* the file is good now, but it was not read again */
    assert_string_equal(refuse(e, "{\"id\":\"b\",\"model\":\"broken\"}", &again).field, "model");
    assert_string_equal(first.text, again.text);
    assert_int_equal(first.status, again.status);
    assert_int_equal(utimensat(AT_FDCWD, temp_path(&models, name), NULL, 0), 0);
    dr_job_free(prepare(e, "{\"id\":\"c\",\"model\":\"broken\"}"));
    dr_engine_close(e);
    free(good);
}

/* --- weights replaced under a name ------------------------------------------------------------ */

static void render(const char *jobs, const char *out)
{
    char *argv[] = { program,
                     "render",
                     "--device",
                     "cpu",
                     "--threads",
                     "1",
                     "--log-level",
                     "error",
                     "--no-sheet",
                     "--models",
                     models.path,
                     "--jobs",
                     (char *)(uintptr_t)jobs,
                     "--out",
                     (char *)(uintptr_t)out,
                     NULL };

    assert_int_equal(program_code(program_spawn(argv)), 0);
}

/* A picture that other weights drew does not count as this job's.  Where weights cannot be compared, a
 * message says so. */
static void pictures_of_other_weights_are_drawn_again(void **state)
{
    static const char name[] = "changing/unet/diffusion_pytorch_model.safetensors";
    static const char line[] =
        "{\"id\":\"a\",\"model\":\"changing\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"b\",\"model\":\"changing\",\"width\":64,\"height\":64,\"steps\":2}\n";
    char jobs[128], out[128];
    size_t bytes;
    void *weights;
    (void)state;

    make_model("changing");
    temp_write(&program_folder, "jobs.jsonl", line, strlen(line));
    snprintf(jobs, sizeof(jobs), "%s/jobs.jsonl", program_folder.path);
    snprintf(out, sizeof(out), "%s/out", program_folder.path);
    render(jobs, out);
    assert_true(program_has_said("2 done, 0 done before"));
    render(jobs, out);
    assert_true(program_has_said("0 done, 2 done before"));

    assert_int_equal(dr_file_read("tests/goldens/models/sd1/unet/diffusion_pytorch_model.safetensors",
                                  1 << 24, &weights, &bytes, NULL),
                     DR_OK);
    ((unsigned char *)weights)[bytes - 100] ^= 1;
    assert_int_equal(unlink(temp_path(&models, name)), 0);
    temp_write(&models, name, weights, bytes);
    render(jobs, out);
    assert_true(program_has_said("model changing: its files have changed since"));
    assert_true(program_has_said("2 done, 0 done before"));
    render(jobs, out);
    assert_true(program_has_said("0 done, 2 done before"));

    temp_write(&models, name, weights, bytes / 2);
    render(jobs, out);
    assert_true(program_has_said("can't be compared"));
    assert_true(program_has_said("0 done, 2 done before"));
    free(weights);
}

/* --- the list ------------------------------------------------------------------------------- */

/* What `darkroom models` prints of the folder, with one flag more or NULL; free() it. */
static char *list_models(char *flag)
{
    char *argv[] = { program, "models", "--models", models.path, flag, NULL };
    size_t bytes;
    void *text;

    assert_int_equal(program_code(program_spawn(argv)), 0);
    assert_int_equal(dr_file_read(program_said, 1 << 24, &text, &bytes, NULL), DR_OK);
    return text;
}

static void a_folder_that_is_not_there_is_2(void **state)
{
    char *argv[] = { program, "models", "--models", "/no/such/place", NULL };
    (void)state;

    assert_int_equal(program_code(program_spawn(argv)), 2);
    assert_true(program_has_said("darkroom models: /no/such/place: No such file or directory\n"));
}

/* The list has exactly one line with this name, and the line has this text. */
static void assert_listed(const char *list, const char *name, const char *says)
{
    const size_t bytes = strlen(name);
    int lines = 0;

    for (const char *line = list; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n'), *at;

        assert_non_null(end);
        if (strncmp(line, name, bytes) != 0 || line[bytes] != ' ')
            continue;
        at = strstr(line, says);
        if (!at || at > end)
            fail_msg("\"%.*s\" does not say \"%s\"", (int)(end - line), line, says);
        lines++;
    }
    if (lines != 1)
        fail_msg("%d lines of %s in:\n%s", lines, name, list);
}

static void every_folder_has_its_line(void **state)
{
    static const char CYRILLIC[] = "\xd0\xbc\xd0\xbe\xd0\xb4\xd0\xb5\xd0\xbb\xd1\x8c";
    static const char LFS[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167536\n";
    dr_engine *e = open_engine();
    char *list, line[256];
    (void)state;

    make_model("My Model");
    make_model("v1.5 (fp16)");
    make_model(CYRILLIC);
    make_model("lacking");
    change("lacking/model_index.json", "PNDMScheduler", "KDPM2DiscreteScheduler");
    make_model("pointer");
    write_file("pointer/unet/diffusion_pytorch_model.safetensors", LFS);
    make_model("tokens");
    write_file("tokens/tokenizer/vocab.json", "<!DOCTYPE html>");
    make_model("no index");
    remove(temp_path(&models, "no index/model_index.json"));
    make_model("hub/snapshots/39593d5650112b4cc580433f6b0435385882d819");
    make_model("bad\xff");
    temp_write(&models, "single.safetensors", "x", 1);
    temp_write(&models, "README.md", "x", 1);
    temp_write(&models, ".hidden/model_index.json", "{}", 2);
    assert_int_equal(symlink("/no/such/place", temp_path(&models, "gone")), 0);
    assert_int_equal(symlink("My Model", temp_path(&models, "linked")), 0);
    list = list_models(NULL);
    assert_listed(list, "My Model", "StableDiffusionPipeline, sampler pndm");
    assert_listed(list, "v1.5 (fp16)", "StableDiffusionPipeline, sampler pndm");
    assert_listed(list, CYRILLIC, "StableDiffusionPipeline, sampler pndm");
    assert_listed(list, "linked", "StableDiffusionPipeline, sampler pndm");
    assert_listed(list, "lacking", "usable with a sampler named");
    assert_listed(list, "pointer", "can't be used");
    assert_listed(list, "pointer", "git lfs pull");
    assert_listed(list, "tokens", "vocab.json: this is a web page");
    assert_listed(list, "no index", "can't be used: no model_index.json");
    assert_listed(list, "hub", "ln -s 'hub/snapshots/39593d5650112b4cc580433f6b0435385882d819' NAME");
    assert_listed(list, "bad?", "no job can say its name");
    assert_listed(list, "gone", "a link to /no/such/place, which is not there");
    assert_listed(list, "single.safetensors", "it is a file");
    assert_null(strstr(list, "README"));
    assert_null(strstr(list, "hidden"));
    free(list);
    snprintf(line, sizeof(line), "{\"id\":\"a\",\"model\":\"%s\"}", CYRILLIC);
    dr_job_free(prepare(e, line));
    dr_job_free(prepare(e, "{\"id\":\"a\",\"model\":\"v1.5 (fp16)\"}"));
    dr_engine_close(e);
}

/* The object of the line with this name, as another program reads it; json_decref() it. */
static json_t *find_object(const char *list, const char *name)
{
    for (const char *line = list; *line; line = strchr(line, '\n') + 1) {
        json_t *object = json_loadb(line, strcspn(line, "\n"), 0, NULL);
        assert_non_null(object);
        if (strcmp(json_string_value(json_object_get(object, "name")), name) == 0)
            return object;
        json_decref(object);
    }
    fail_msg("no %s in %s", name, list);
    return NULL;
}

static void another_program_reads_json(void **state)
{
    json_t *object;
    char *list;

    (void)state;
    make_model("read \"me\"");
    assert_int_equal(mkdir(temp_path(&models, "empty\xff"), 0755), 0);
    list = list_models("--json");
    object = find_object(list, "read \"me\"");
    assert_true(json_is_true(json_object_get(object, "usable")));
    assert_string_equal(json_string_value(json_object_get(object, "pipeline")), "StableDiffusionPipeline");
    assert_string_equal(json_string_value(json_object_get(object, "sampler")), "pndm");
    assert_null(json_object_get(object, "why"));
    json_decref(object);
    object = find_object(list, "empty?"); /* JSON is UTF-8 */
    assert_true(json_is_false(json_object_get(object, "usable")));
    assert_null(json_object_get(object, "pipeline"));
    assert_non_null(json_string_value(json_object_get(object, "why")));
    json_decref(object);
    free(list);
}

/* However many models there are, all are listed. */
static void ten_thousand_folders_have_their_lines(void **state)
{
    temp_folder many;
    char *list, *kept = strdup(models.path), name[32];
    (void)state;

    temp_open(&many);
    strcpy(models.path, many.path);
    for (int i = 0; i <= 10000; i++) {
        snprintf(name, sizeof(name), "m%05d", i);
        assert_int_equal(mkdir(temp_path(&models, name), 0755), 0);
    }
    list = list_models(NULL);
    assert_listed(list, "m00000", "no model_index.json");
    assert_listed(list, "m10000", "no model_index.json");
    free(list);
    temp_close(&many);
    strcpy(models.path, kept);
    free(kept);
}

static int open_temp(void **state)
{
    (void)state;
    temp_open(&models);
    return program_begin(state);
}

static int close_temp(void **state)
{
    (void)state;
    temp_close(&models);
    return program_end(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_height_and_width),
        cmocka_unit_test(a_scheduler_that_we_lack_needs_a_sampler),
        cmocka_unit_test(a_failed_model_is_tried_again_when_its_files_change),
        cmocka_unit_test(pictures_of_other_weights_are_drawn_again),
        cmocka_unit_test(every_folder_has_its_line),
        cmocka_unit_test(a_folder_that_is_not_there_is_2),
        cmocka_unit_test(another_program_reads_json),
        cmocka_unit_test(ten_thousand_folders_have_their_lines),
    };

    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("model_folders", tests, open_temp, close_temp);
}
