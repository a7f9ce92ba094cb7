/* `darkroom render` of a jobs file: what it leaves, what it says, what it returns. */
#include "tests/worker/render/render_fixture.h"

#include "worker/pictures/picture.h"

static void pictures_lines_and_sheet(void **state)
{
    char sha256[65];
    json_t *result;
    void *bytes;
    size_t size;
    (void)state;

    write_jobs(good);
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("3 done, 0 done before, 0 failed; 4 pictures"));
    assert_true(exists("fox.png") && exists("two@0.jpg") && exists("two@1.jpg") &&
                exists("line-000004.webp"));
    assert_true(exists("contact-sheet.png"));
    assert_false(exists("fox.png.part"));
    result = result_of("fox");
    assert_int_equal(dr_file_read(path_of("fox.png"), 1 << 20, &bytes, &size, NULL), DR_OK);
    dr_sha256_hex(sha256, bytes, size);
    json_t *picture = json_array_get(json_object_get(result, "pictures"), 0);
    assert_string_equal(json_string_value(json_object_get(picture, "sha256")), sha256);
    assert_string_equal(json_string_value(json_object_get(picture, "file")), "fox.png");
    free(bytes);
    json_decref(result);
}

static void no_sheet_where_none_is_wanted(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(render("--sheet=false"), 0);
    assert_false(exists("contact-sheet.png"));
    assert_int_equal(render("--no-sheet"), 0);
    assert_false(exists("contact-sheet.png"));
}

static void a_second_run_does_what_is_missing(void **state)
{
    ino_t fox, two;
    FILE *file;
    (void)state;

    write_jobs(good);
    assert_int_equal(render(NULL), 0);
    fox = inode("fox.png");
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("0 done, 3 done before, 0 failed"));
    assert_true(inode("fox.png") == fox); /* not even written again */

    unlink(path_of("two@1.jpg"));
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("1 done, 2 done before"));
    assert_true(exists("two@1.jpg"));

    two = inode("two@0.jpg");
    file = fopen(path_of("fox.png"), "r+"); /* a changed byte */
    fseek(file, 100, SEEK_SET);
    fputc('x', file);
    fclose(file);
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said("1 done, 2 done before"));
    assert_true(inode("two@0.jpg") == two);

    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a blue "
        "fox\",\"width\":64,\"height\":64,\"steps\":2}\n");
    assert_int_equal(render(NULL), 0); /* another job of the same name */
    assert_true(program_has_said("1 done, 0 done before"));
}

static void bad_lines_fail_alone(void **state)
{
    (void)state;
    write_jobs(
        "{\"id\":\"zero\",\"model\":\"m\",\"width\":0}\n"
        "nonsense\n"
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"fox\",\"model\":\"m\"}\n"
        "{\"id\":\"../up\",\"model\":\"m\"}\n"
        "{\"id\":\"contact-sheet\",\"model\":\"m\"}\n"
        "{\"id\":\"who\",\"model\":\"m\",\"prompt\":\"!missing\"}\n"
        "{\"id\":\"step\",\"model\":\"m\",\"prompt\":\"!fail step\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"fine\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"typo\",\"model\":\"m\",\"promt\":\"a\"}\n"
        "{\"id\":\"unsaid\",\"model\":\"m\",\"task\":\"upscale\"}");
    for (int run = 0; run < 2; run++) {
        assert_int_equal(render(NULL), 1);
        assert_true(program_has_said(":1: width: 0; allowed: a multiple of 8 from 64 to 2048"));
        assert_true(program_has_said(":2: not a JSON object"));
        assert_true(program_has_said(":4: id: fox was on line 3 already"));
        assert_true(program_has_said(":5: id: \"../up\""));
        assert_true(program_has_said(":7: job who: model m: not found"));
        assert_true(program_has_said(":10: promt: a job has no such field"));
        assert_true(program_has_said(":11: task:"));
        assert_true(
            program_has_said(run ? "0 done, 2 done before, 9 failed" : "2 done, 0 done before, 9 failed"));
        assert_state("fox", "succeeded");
        assert_state("fine", "succeeded");
        assert_state("who", "failed");
        assert_state("line-000002", "failed");
    }
    assert_true(exists("fox.png") && exists("fine.png") && !exists("who.png"));
}

/* A line that is refused has a line of its own in results.jsonl, whatever its id is. */
static void a_refused_line_takes_nobodys_place(void **state)
{
    (void)state;
    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"line-000005\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"fox\",\"model\":\"m\",\"steps\":0}\n"
        "{\"id\":\"fox\",\"model\":\"m\",\"colour\":\"red\"}\n"
        "nonsense\n");
    for (int run = 0; run < 2; run++) {
        assert_int_equal(render(NULL), 1);
        assert_true(
            program_has_said(run ? "0 done, 2 done before, 3 failed" : "2 done, 0 done before, 3 failed"));
        assert_state("fox", "succeeded");
        assert_state("line-000005", "succeeded");
        assert_state("line-000003", "failed");
        assert_state("line-000004", "failed");
        assert_state("line-000005.1", "failed");
    }
}

/* Jobs that the device had not done are no failures: the next render draws them.  When the device is lost,
 * the picture of the batch before may still be on it or not.  So the number of jobs done is not known. */
static void a_lost_device_is_5_and_leaves_the_rest_to_be_done(void **state)
{
    (void)state;
    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"loses\",\"model\":\"m\",\"prompt\":\"!lose "
        "device\",\"width\":128,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"after\",\"model\":\"m\",\"width\":64,\"height\":128,\"steps\":2}\n");
    assert_int_equal(render(NULL), 5);
    assert_true(program_has_said("the null device is lost"));
    assert_true(program_has_said(" done, 0 done before, 0 failed"));
    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"loses\",\"model\":\"m\",\"width\":128,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"after\",\"model\":\"m\",\"width\":64,\"height\":128,\"steps\":2}\n");
    assert_int_equal(render(NULL), 0);
    assert_true(program_has_said(" done before, 0 failed"));
    assert_state("fox", "succeeded");
    assert_state("loses", "succeeded");
    assert_state("after", "succeeded");
}

static void an_interrupt_keeps_what_is_done(void **state)
{
    char *argv[] = { program, "render", "--device",  "null",  "--null-step-us", "20000", "--log-level",
                     "warn",  "--jobs", render_jobs, "--out", render_out,       NULL };
    FILE *file = fopen(render_jobs, "w");
    pid_t pid;
    (void)state;

    for (int i = 0; i < 200; i++) /* 80 s of work */
        fprintf(file, "{\"id\":\"j%d\",\"model\":\"m%d\",\"width\":64,\"height\":64,\"steps\":20}\n", i, i);
    fclose(file);
    pid = program_spawn(argv);
    for (int i = 0; i < 1000 && !exists("j0.png"); i++)
        usleep(10000);
    kill(pid, SIGINT);
    assert_int_equal(program_code(pid), 6);
    assert_true(program_has_said("interrupted: "));
    assert_true(exists("j0.png"));
    assert_false(exists("j199.png"));
}

static void a_full_disk_ends_it(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(dr_folder_make(path_of("fox.png"), NULL),
                     DR_OK); /* a folder where the picture must go */
    assert_int_equal(render(NULL), 1);
    assert_true(program_has_said("fox.png"));
}

static void a_dry_run_says_it_all_and_writes_nothing(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(render("--dry-run"), 0);
    assert_true(
        program_has_said("m, 64x64, 2 steps: 1 picture of 1 job\nm, 64x72, 2 steps: 2 pictures of 1 job\n"));
    assert_true(program_has_said("3 jobs: 4 pictures to draw, 0 done before, 0 wrong"));
    assert_false(dr_folder_exists(render_out));
    assert_int_equal(render(NULL), 0);
    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a red fox\",\"width\":64,\"height\":64,\"steps\":2}\n"
        "{\"id\":\"fox\",\"model\":\"m\"}\n"
        "{\"id\":\"zero\",\"model\":\"m\",\"steps\":0}\n"
        "{\"id\":\"own\",\"model\":\"m\",\"images\":3}\n"
        "{\"id\":\"wide\",\"model\":\"m\",\"width\":96}\n"
        "{\"id\":\"high\",\"model\":\"m\",\"height\":96}\n"
        "{\"id\":\"late\",\"model\":\"m\",\"deadline_ms\":1000}\n"
        "{\"id\":\"soon\",\"model\":\"m\",\"deadline_ms\":253402300799999}\n");
    assert_int_equal(render("--dry-run"), 1);
    assert_true(program_has_said(":2: id: fox was on line 1 already") &&
                program_has_said(":3: steps: 0; allowed: 1..150"));
    assert_true(program_has_said("m, the model's own size, 50 steps: 4 pictures of 2 jobs"));
    assert_true(program_has_said("m, 96 wide and the model's own height, 50 steps: 1 picture of 1 job"));
    assert_true(program_has_said("m, 96 high and the model's own width, 50 steps: 1 picture of 1 job"));
    assert_true(program_has_said(":7: deadline_ms: it has passed\n"));
    assert_true(program_has_said("8 jobs: 6 pictures to draw, 1 done before, 3 wrong"));
    assert_false(exists("own@0.png"));
    /* Without a device it is known that a model is not there. */
    char *argv[] = { program,  "render",    "--device", "cpu",      "--models",  "models",
                     "--jobs", render_jobs, "--out",    render_out, "--dry-run", NULL };
    assert_int_equal(program_code(program_spawn(argv)), 1);
    assert_true(program_has_said(":4: model m: not found in models"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_lines_and_sheet, begin, program_end),
        cmocka_unit_test_setup_teardown(no_sheet_where_none_is_wanted, begin, program_end),
        cmocka_unit_test_setup_teardown(a_second_run_does_what_is_missing, begin, program_end),
        cmocka_unit_test_setup_teardown(bad_lines_fail_alone, begin, program_end),
        cmocka_unit_test_setup_teardown(a_refused_line_takes_nobodys_place, begin, program_end),
        cmocka_unit_test_setup_teardown(a_lost_device_is_5_and_leaves_the_rest_to_be_done, begin,
                                        program_end),
        cmocka_unit_test_setup_teardown(an_interrupt_keeps_what_is_done, begin, program_end),
        cmocka_unit_test_setup_teardown(a_full_disk_ends_it, begin, program_end),
        cmocka_unit_test_setup_teardown(a_dry_run_says_it_all_and_writes_nothing, begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
