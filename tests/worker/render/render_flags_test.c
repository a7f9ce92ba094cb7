/* `darkroom render` and its flags: one job in flags, a file of prompts, and wrong usage. */
#include "tests/worker/render/render_fixture.h"

static void usage_is_2_and_does_nothing(void **state)
{
    char *none[] = { program, "render", NULL };
    char *flag[] = { program, "render", "--jobs", render_jobs, "--out", render_out, "--colour", "red", NULL };
    char *range[] = {
        program, "render", "--jobs", render_jobs, "--out", render_out, "--batch-max", "0", NULL
    };
    char *models[] = { program,    "render",   "--jobs",         render_jobs, "--out",
                       render_out, "--models", "/no/such/place", NULL };
    char *device[] = { program,    "render", "--jobs",   render_jobs, "--out", render_out,
                       "--models", "models", "--device", "cuda:x",    NULL };
    (void)state;

    assert_int_equal(render(NULL), 2); /* there is no jobs file */
    assert_true(program_has_said("jobs.jsonl"));
    write_jobs(good);
    assert_int_equal(program_code(program_spawn(none)), 2);
    assert_true(program_has_said("--jobs"));
    assert_int_equal(program_code(program_spawn(flag)), 2);
    assert_true(program_has_said("--colour"));
    assert_int_equal(program_code(program_spawn(range)), 2);
    assert_true(program_has_said("--batch-max is \"") && program_has_said("1..64"));
    assert_int_equal(program_code(program_spawn(models)), 2);
    assert_true(program_has_said("/no/such/place"));
    assert_false(dr_folder_exists(render_out));
    assert_int_equal(program_code(program_spawn(device)), 2);
    assert_true(
        program_has_said("no device 'cuda:x'; there are: auto, cpu, cuda:NUMBER; in the worker also null"));
    /* In a build without CUDA, without a driver, and where there are fewer GPUs. */
    device[9] = "cuda:63";
    assert_int_equal(program_code(program_spawn(device)), 2);
    assert_true(program_has_said("device cuda:63: ") &&
                program_has_said("; auto, cpu and null need no GPU\n"));
}

static void one_job_from_flags_is_one_file(void **state)
{
    char file[200], jpeg[200];
    (void)state;

    snprintf(file, sizeof(file), "%s/fox.PNG", render_out); /* path_of() forgets */
    snprintf(jpeg, sizeof(jpeg), "%s/two foxes.jpeg", render_out);
    assert_int_equal(render_with("--model", "m", "--prompt", "a red fox", "--width", "64", "--height", "72",
                                 "--seed", "42", "--out", file, NULL),
                     0);
    assert_true(program_has_said("fox.PNG: 64x72, seed 42"));
    assert_true(program_has_said("1 picture in "));
    assert_true(exists("fox.PNG"));
    assert_false(exists("results.jsonl") || exists("contact-sheet.png") || exists("fox.png"));
    assert_int_equal(render_with("--model", "m", "--images", "2", "--width", "64", "--height", "64", "--out",
                                 jpeg, NULL),
                     0);
    assert_true(exists("two foxes@0.jpeg") && exists("two foxes@1.jpeg"));
    /* A path that ends in a slash is a folder, whatever its name. */
    snprintf(jpeg, sizeof(jpeg), "%s/folder.png/", render_out);
    assert_int_equal(render_with("--model", "m", "--id", "a", "--width", "64", "--height", "64", "--out",
                                 jpeg, NULL),
                     0);
    assert_true(exists("folder.png/a.png") && exists("folder.png/results.jsonl"));
    /* The file begins as a JPEG does. */
    FILE *picture = fopen(path_of("two foxes@0.jpeg"), "rb");
    assert_int_equal(fgetc(picture), 0xff);
    assert_int_equal(fgetc(picture), 0xd8);
    fclose(picture);
}

static void one_job_from_flags_goes_into_a_folder(void **state)
{
    (void)state;
    for (int run = 0; run < 2; run++) {
        assert_int_equal(render_with("--model", "m", "--prompt", "A red fox, in the snow!", "--width", "64",
                                     "--height", "64", "--out", render_out, NULL),
                         0);
        assert_true(program_has_said(run ? "done before; 0 pictures" : "/a-red-fox-in-the-snow-"));
    }
    assert_true(exists("results.jsonl"));
    assert_int_equal(render_with("--model", "m", "--id", "fox", "--width", "64", "--height", "64", "--out",
                                 render_out, NULL),
                     0);
    assert_true(exists("fox.png"));
    assert_state("fox", "succeeded");
}

/* The error is the last line, as --help says of exit code 1. */
static void one_job_that_fails_says_so_last(void **state)
{
    char file[200], *said;
    size_t size;
    (void)state;

    snprintf(file, sizeof(file), "%s/fox.png", render_out);
    assert_int_equal(render_with("--model", "m", "--prompt", "!missing", "--out", file, NULL), 1);
    assert_int_equal(dr_file_read(program_said, 1 << 20, (void **)&said, &size, NULL), DR_OK);
    assert_non_null(strstr(said, "darkroom render: job fox: "));
    assert_null(strstr(said, "0 pictures"));
    free(said);
}

static void flags_that_make_no_job_are_2(void **state)
{
    char file[200];
    (void)state;

    snprintf(file, sizeof(file), "%s/fox.png", render_out);
    write_jobs(good);
    assert_int_equal(render_with("--prompt", "a", "--out", file, NULL), 2);
    assert_true(program_has_said("--model"));
    assert_int_equal(render_with("--negative-prompt", "m", "--jobs", render_jobs, "--out", render_out, NULL),
                     2);
    assert_true(program_has_said("--negative-prompt is for one job in flags; "));
    assert_true(program_has_said("--set negative_prompt=VALUE"));
    assert_int_equal(render_with("--out", render_out, NULL), 2);
    assert_true(program_has_said("--jobs FILE, or one job in flags"));
    assert_int_equal(render_with("--model", "m", "--out", "-", NULL), 2);
    assert_true(program_has_said("--out -: pictures go into a folder"));
    assert_false(dr_folder_exists("-"));
    assert_int_equal(render_with("--jobs", render_jobs, "--out", file, NULL), 2);
    assert_true(program_has_said("into a folder"));
    assert_int_equal(render_with("--model", "m", "--out", path_of("fox.gif"), NULL), 2);
    assert_true(program_has_said(".webp"));
    assert_int_equal(render_with("--model", "m", "--format", "jpeg", "--out", file, NULL), 2);
    assert_true(program_has_said("--format jpeg contradicts"));
    assert_int_equal(render_with("--model", "m", "--width", "63", "--out", file, NULL), 2);
    assert_int_equal(render_with("--model", "m", NULL), 2);
    assert_true(program_has_said("--out is missing"));
    assert_false(dr_folder_exists(render_out));
}

static void a_file_of_prompts_needs_a_model_and_no_more(void **state)
{
    char text[128];
    FILE *file;
    (void)state;

    snprintf(text, sizeof(text), "%s/prompts.txt", program_folder.path);
    file = fopen(text, "w");
    fputs("a red fox\n\na blue hill\n", file);
    fclose(file);
    assert_int_equal(render_with("--jobs", text, "--out", render_out, NULL), 2);
    assert_true(program_has_said("--set model=NAME"));
    assert_int_equal(render_with("--jobs", text, "--out", render_out, "--set", "model=m", "--set", "width=64",
                                 "--set", "height=64", "--set", "steps=3", NULL),
                     0);
    assert_true(program_has_said("2 done, 0 done before, 0 failed; 2 pictures in ") &&
                program_has_said("pictures/s"));
    json_t *result = result_of("line-000003"), *job = json_object_get(result, "job");
    assert_string_equal(json_string_value(json_object_get(job, "prompt")), "a blue hill");
    assert_int_equal(json_integer_value(json_object_get(job, "steps")), 3);
    json_decref(result);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(usage_is_2_and_does_nothing, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_from_flags_is_one_file, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_from_flags_goes_into_a_folder, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_that_fails_says_so_last, begin, program_end),
        cmocka_unit_test_setup_teardown(flags_that_make_no_job_are_2, begin, program_end),
        cmocka_unit_test_setup_teardown(a_file_of_prompts_needs_a_model_and_no_more, begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("render_flags", tests, NULL, NULL);
}
