/* `darkroom render` into a folder that others write into too, or that an earlier render did not leave
 * whole. */
#include "tests/worker/render/render_fixture.h"

static void a_crash_leaves_half_a_line(void **state)
{
    FILE *file;
    (void)state;

    write_jobs(good);
    assert_int_equal(render(NULL), 0);
    file = fopen(path_of("results.jsonl"), "a");
    fputs("{\"id\":\"fox\",\"sta", file);
    fclose(file);
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("0 done, 3 done before"));
    assert_state("fox", "succeeded"); /* and every line is whole */
}

static void write_out(const char *name, const char *text)
{
    assert_int_equal(dr_folder_make(render_out, NULL), DR_OK);
    assert_int_equal(dr_file_write(path_of(name), text, strlen(text), NULL), DR_OK);
}

static void assert_holds(const char *path, const char *text)
{
    void *bytes;
    size_t size;
    assert_int_equal(dr_file_read(path, 1 << 20, &bytes, &size, NULL), DR_OK);
    assert_string_equal(bytes, text);
    free(bytes);
}

static void links_and_pipes_are_not_followed(void **state)
{
    static const char *const names[] = { "results.jsonl", "fox.png.part", "fox.png" };
    (void)state;

    write_jobs(one);
    for (int pipes = 0; pipes < 2; pipes++)
        for (int i = 0; i < 3; i++) {
            char victim[128];
            struct stat st;
            snprintf(victim, sizeof(victim), "%s/victim", program_folder.path);
            assert_int_equal(dr_file_write(victim, "precious", 8, NULL), DR_OK);
            snprintf(render_out, sizeof(render_out), "%s/out%d", program_folder.path, 3 * pipes + i);
            assert_int_equal(dr_folder_make(render_out, NULL), DR_OK);
            assert_int_equal(pipes ? mkfifo(path_of(names[i]), 0666) : symlink(victim, path_of(names[i])), 0);
            assert_int_equal(render("--sheet=false"), i == 0 ? 1 : 0); /* a picture takes the place of both */
            assert_holds(victim, "precious");
            if (i == 0) {
                assert_true(program_has_said(pipes ? "not a regular file" : "a symbolic link"));
                assert_false(exists("fox.png"));
            } else {
                assert_int_equal(lstat(path_of("fox.png"), &st), 0);
                assert_true(S_ISREG(st.st_mode));
                assert_int_equal(lstat(path_of("fox.png.part"), &st), -1);
            }
        }
}

static void a_foreign_results_file_is_left_alone(void **state)
{
    static const char *const foreign[] = {
        "notes of mine, without an end of line",
        "{\"id\":7}\n",
        "{\"name\":\"x\"}\n",
        "{\"id\":\"a\",\"state\":\"succeeded\"}\nnotes\n",
        "{\"id\":\"a\",\"state\":\"succeeded\"}\nnotes",
        "{\"id\":\"a\"}\n{\"id\":\"b\",\"state\":\"failed\"}\n",
        "\n",
    };
    (void)state;

    write_jobs(one);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        write_out("results.jsonl", foreign[i]);
        assert_int_equal(render(NULL), 2);
        assert_true(program_has_said("not a line that Darkroom writes"));
        assert_holds(path_of("results.jsonl"), foreign[i]);
        assert_false(exists("fox.png"));
    }
}

static void one_writer_a_folder(void **state)
{
    char *argv[] = { program, "render", "--device",  "null",  "--null-step-us", "20000", "--log-level",
                     "warn",  "--jobs", render_jobs, "--out", render_out,       NULL };
    pid_t pid;
    (void)state;

    write_jobs("{\"id\":\"slow\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":150}\n");
    pid = program_spawn(argv);
    for (int i = 0; i < 3000 && !exists("results.jsonl"); i++)
        usleep(10000);
    strcat(program_said, "-second"); /* the first one writes into the other */
    assert_int_equal(render(NULL), 1);
    assert_true(program_has_said("another darkroom is writing into this folder"));
    kill(pid, SIGTERM);
    program_code(pid);
    write_jobs(one);
    assert_int_equal(render(NULL), 0);
}

static int lines_of(const char *name)
{
    void *bytes;
    size_t size;
    int lines = 0;
    assert_int_equal(dr_file_read(path_of(name), 1 << 20, &bytes, &size, NULL), DR_OK);
    for (size_t i = 0; i < size; i++)
        lines += ((char *)bytes)[i] == '\n';
    free(bytes);
    return lines;
}

static void the_last_line_of_an_id_counts(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(render(NULL), 0);
    assert_int_equal(lines_of("results.jsonl"), 3);
    write_jobs("{\"id\":\"fox\",\"model\":\"m\",\"width\":0}\n");
    assert_int_equal(render(NULL), 1);
    assert_state("fox", "failed");
    assert_int_equal(lines_of("results.jsonl"), 3); /* the one that succeeded is gone */
    write_jobs(good);
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("1 done, 2 done before"));
    assert_state("fox", "succeeded");
    assert_state("two", "succeeded");
    assert_int_equal(lines_of("results.jsonl"), 3);
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("0 done, 3 done before"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crash_leaves_half_a_line, begin, program_end),
        cmocka_unit_test_setup_teardown(links_and_pipes_are_not_followed, begin, program_end),
        cmocka_unit_test_setup_teardown(a_foreign_results_file_is_left_alone, begin, program_end),
        cmocka_unit_test_setup_teardown(one_writer_a_folder, begin, program_end),
        cmocka_unit_test_setup_teardown(the_last_line_of_an_id_counts, begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("render_folder", tests, NULL, NULL);
}
