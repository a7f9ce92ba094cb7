/* `darkroom demo`: jobs really go through a broker and come back as pictures. */
#include "tests/worker/program.h"

static char folder[64], out[96];

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/darkroom-demo-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(out, sizeof(out), "%s/out", folder);
    snprintf(program_said, sizeof(program_said), "%s/said", folder);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static bool has(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", out, name);
    return access(path, R_OK) == 0;
}

static int demo(void)
{
    char *argv[] = { program, "demo", "--device", "null", "--null-step-us", "200", "--out", out, NULL };
    return program_code(program_spawn(argv));
}

static void pictures_come_out(void **state)
{
    (void)state;
    for (int run = 0; run < 2; run++) { /* the second clears up after the first */
        assert_int_equal(demo(), 0);
        assert_true(has("fox.png") && has("hills.png") && has("tree.webp") && has("three@2.png"));
        assert_true(has("contact-sheet.png") && has("demo-jobs.jsonl") && has("results.jsonl"));
        assert_true(program_has_said("street succeeded"));
        assert_true(program_has_said("jobs, null, 128x128, 20 steps: ")); /* a batch as it formed */
    }
}

static void results_of_others_are_left_alone(void **state)
{
    char path[160];
    (void)state;
    snprintf(path, sizeof(path), "%s/results.jsonl", out);
    assert_int_equal(dr_folder_make(out, NULL), DR_OK);
    assert_int_equal(dr_file_write(path, "{}\n", 3, NULL), DR_OK);
    assert_int_equal(demo(), 1);
    assert_true(program_has_said("--out"));
    assert_true(has("results.jsonl") && !has("demo-jobs.jsonl"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_come_out, begin, end),
        cmocka_unit_test_setup_teardown(results_of_others_are_left_alone, begin, end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("demo", tests, NULL, NULL);
}
