/* `darkroom render` as a user runs it, on the null device: what it leaves, what it says, what it returns. */
#include "worker/pictures/picture.h"
#include "worker/support/files.h"

#include "tests/worker/program.h"

#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char jobs[96], out[96];

static char *path_of(const char *name)
{
    static char path[4][256];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", out, name);
    return path[turn];
}

static int begin(void **state)
{
    program_begin(state);
    snprintf(jobs, sizeof(jobs), "%s/jobs.jsonl", program_folder.path);
    snprintf(out, sizeof(out), "%s/a/b/out", program_folder.path);
    return 0;
}

static void write_jobs(const char *text)
{
    FILE *file = fopen(jobs, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int render(const char *flag)
{
    char *argv[] = {
        program,  "render", "--device", "null", "--null-step-us",        "200", "--log-level", "warn",
        "--jobs", jobs,     "--out",    out,    (char *)(uintptr_t)flag, NULL
    };
    return program_code(program_spawn(argv));
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static ino_t inode(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_ino;
}

static int times_said(const char *text)
{
    void *bytes;
    size_t size;
    int times = 0;

    assert_int_equal(dr_file_read(program_said, 1 << 20, &bytes, &size, NULL), DR_OK);
    for (const char *at = bytes; (at = strstr(at, text)); at++)
        times++;
    free(bytes);
    return times;
}

/* The last line about a job. */
static json_t *result_of(const char *id)
{
    FILE *file = fopen(path_of("results.jsonl"), "r");
    json_t *found = NULL;
    char *line = NULL;
    size_t room = 0;

    assert_non_null(file);
    while (getline(&line, &room, file) > 0) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        if (strcmp(json_string_value(json_object_get(json, "id")), id) == 0) {
            json_decref(found);
            found = json_incref(json);
        }
        json_decref(json);
    }
    free(line);
    fclose(file);
    assert_non_null(found);
    return found;
}

static void assert_state(const char *id, const char *expected)
{
    json_t *result = result_of(id);
    assert_string_equal(json_string_value(json_object_get(result, "state")), expected);
    json_decref(result);
}

static const char good[] =
    "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a red fox\",\"width\":64,\"height\":64,\"steps\":2}\n"
    "{\"id\":\"two\",\"model\":\"m\",\"images\":2,\"width\":64,\"height\":72,\"steps\":2,\"format\":\"jpeg\"}"
    "\n"
    "\n"
    "{\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":3,\"format\":\"webp\"}\n";

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

/* A line that is refused takes no other line's place in results.jsonl, whatever its id is. */
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

/* What the device had not done is not held against the jobs: the next run does it.  Nor what was still on it: the picture
 * of the batch before may be on its way when the device is lost, or taken already. */
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

static void usage_is_2_and_does_nothing(void **state)
{
    char *none[] = { program, "render", NULL };
    char *flag[] = { program, "render", "--jobs", jobs, "--out", out, "--colour", "red", NULL };
    char *range[] = { program, "render", "--jobs", jobs, "--out", out, "--batch-max", "0", NULL };
    char *models[] = { program, "render", "--jobs", jobs, "--out", out, "--models", "/no/such/place", NULL };
    char *device[] = { program,    "render", "--jobs",   jobs,     "--out", out,
                       "--models", "models", "--device", "cuda:x", NULL };
    (void)state;

    assert_int_equal(render(NULL), 2); /* there is no jobs file */
    assert_true(program_has_said("jobs.jsonl"));
    write_jobs(good);
    assert_int_equal(program_code(program_spawn(none)), 2);
    assert_true(program_has_said("--jobs"));
    assert_int_equal(program_code(program_spawn(flag)), 2);
    assert_true(program_has_said("--colour"));
    assert_int_equal(program_code(program_spawn(range)), 2);
    assert_true(program_has_said("batch_max") && program_has_said("1..64"));
    assert_int_equal(program_code(program_spawn(models)), 2);
    assert_true(program_has_said("/no/such/place"));
    assert_false(dr_folder_exists(out));
    assert_int_equal(program_code(program_spawn(device)), 2);
    assert_true(
        program_has_said("no device 'cuda:x'; there are: auto, cpu, cuda:NUMBER; in the worker also null"));
    /* Without CUDA, without a driver, and where there are fewer GPUs. */
    device[9] = "cuda:63";
    assert_int_equal(program_code(program_spawn(device)), 2);
    assert_true(program_has_said("device cuda:63: ") &&
                program_has_said("; auto, cpu and null need no GPU\n"));
}

/* What a person reads is not between lines for a program. */
static void a_file_gets_text_and_no_json(void **state)
{
    char *argv[] = { program, "render", "--device", "null",        "--null-step-us", "200", "--jobs",
                     jobs,    "--out",  out,        "--log-level", "debug",          NULL };
    (void)state;

    write_jobs(good);
    assert_int_equal(program_code(program_spawn(argv)), 0);
    assert_true(program_has_said(" debug batch: "));
    assert_true(program_has_said("3 done, 0 done before, 0 failed"));
    assert_int_equal(times_said("{\""), 0);
}

static void an_interrupt_keeps_what_is_done(void **state)
{
    char *argv[] = { program, "render",      "--device", "null",   "--null-step-us",
                     "20000", "--log-level", "warn",     "--jobs", jobs,
                     "--out", out,           NULL };
    FILE *file = fopen(jobs, "w");
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

/* --- a folder that others write into, too --- */

static const char one[] = "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n";

static void write_out(const char *name, const char *text)
{
    assert_int_equal(dr_folder_make(out, NULL), DR_OK);
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
            snprintf(out, sizeof(out), "%s/out%d", program_folder.path, 3 * pipes + i);
            assert_int_equal(dr_folder_make(out, NULL), DR_OK);
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
    char *argv[] = { program, "render",      "--device", "null",   "--null-step-us",
                     "20000", "--log-level", "warn",     "--jobs", jobs,
                     "--out", out,           NULL };
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

static void a_full_disk_ends_it(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(dr_folder_make(path_of("fox.png"), NULL),
                     DR_OK); /* a folder where the picture must go */
    assert_int_equal(render(NULL), 1);
    assert_true(program_has_said("fox.png"));
}

static void what_is_not_supported_is_said_once_a_job(void **state)
{
    json_t *result;
    (void)state;

    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a (red:1.3) "
        "fox\",\"width\":64,\"height\":64,\"steps\":2,\"images\":3}\n");
    assert_int_equal(render(NULL), 0);
    assert_int_equal(times_said("jobs.jsonl:1: prompt: weights like (word:1.3) are not supported"), 1);
    assert_int_equal(times_said("(red"), 0); /* prompts are not logged */
    result = result_of("fox");
    assert_string_equal(json_string_value(json_array_get(json_object_get(result, "warnings"), 0)),
                        "prompt: weights like (word:1.3) are not supported, and read as text");
    json_decref(result);
}

/* --- on a terminal ---------------------------------------------------------------------------------- */

/* What the program writes to a terminal so wide, up to its end; *code: what it returns. */
static char *said_on_terminal(unsigned short columns, char *const *argv, int *code)
{
    const struct winsize window = { .ws_row = 24, .ws_col = columns };
    char *text = NULL, part[4096];
    size_t size = 0;
    ssize_t n;
    int terminal;
    const pid_t pid = forkpty(&terminal, NULL, NULL, &window);

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, argv);
        _exit(127);
    }
    while ((n = read(terminal, part, sizeof(part))) > 0) { /* fails with EIO when the program has ended */
        text = realloc(text, size + (size_t)n + 1);
        memcpy(text + size, part, (size_t)n);
        size += (size_t)n;
        text[size] = 0;
    }
    close(terminal);
    *code = program_code(pid);
    assert_non_null(text);
    return text;
}

/* A longer line than the terminal's could not be taken away. */
static void assert_no_line_is_longer(const char *text, size_t columns)
{
    for (const char *at = text; *at; at += strcspn(at, "\r\n") + (at[strcspn(at, "\r\n")] != 0)) {
        const size_t bytes = strcspn(at, "\r\n"), escape = strncmp(at, "\033[K", 3) == 0 ? 3 : 0;
        const bool is_bar = strstr(at, "step ") && strstr(at, "step ") < at + bytes;
        if (is_bar && bytes - escape >= columns)
            fail_msg("%.*s", (int)bytes, at);
    }
}

/* Not behind the bar: it was taken away. */
static void assert_begins_a_line(const char *text, const char *what)
{
    const char *at = strstr(text, what);

    assert_non_null(at);
    while (at > text && at[-1] != '\r' && at[-1] != '\n')
        at--;
    assert_memory_equal(at, "\033[K", 3);
}

static void a_terminal_sees_steps_and_whole_lines(void **state)
{
    char *argv[] = { program, "render", "--device", "null", "--null-step-us", "100000", "--jobs",
                     jobs,    "--out",  out,        NULL };
    (void)state;

    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":9}\n"
        "{\"id\":\"two\",\"model\":\"m\",\"prompt\":\"a (red:1.3) "
        "fox\",\"width\":64,\"height\":72,\"steps\":9}\n"
        /* These two share a batch, which fails as a whole: the log says so. */
        "{\"id\":\"a\",\"model\":\"m\",\"width\":72,\"height\":72,\"steps\":2}\n"
        "{\"id\":\"b\",\"model\":\"m\",\"prompt\":\"!fail step\",\"width\":72,\"height\":72,\"steps\":2}\n");
    for (unsigned short columns = 40; columns <= 120; columns += 80) {
        int code;
        char *text = said_on_terminal(columns, argv, &code);
        assert_int_equal(code, 1);
        assert_non_null(strstr(text, "0/4, step ")); /* before the first picture is done */
        assert_non_null(strstr(text, "/9, "));
        assert_int_equal(strstr(text, "[=") != NULL, columns == 120);
        assert_no_line_is_longer(text, columns);
        assert_begins_a_line(text, "jobs.jsonl:2: prompt: weights");
        assert_begins_a_line(text, "warn  batch: ");
        free(text);
        unlink(path_of("results.jsonl"));
    }
}

/* --- one job from flags ------------------------------------------------------------------------------- */

/* `darkroom render` on the null device with these arguments, up to NULL. */
static int render_with(char *first, ...)
{
    char *argv[32] = {
        program, "render", "--device", "null", "--null-step-us", "200", "--log-level", "warn"
    };
    int argc = 8;
    va_list ap;

    va_start(ap, first);
    for (char *argument = first; argument && argc < 31; argument = va_arg(ap, char *))
        argv[argc++] = argument;
    va_end(ap);
    return program_code(program_spawn(argv));
}

static void one_job_from_flags_is_one_file(void **state)
{
    char file[200], jpeg[200];
    (void)state;

    snprintf(file, sizeof(file), "%s/fox.PNG", out); /* path_of() forgets */
    snprintf(jpeg, sizeof(jpeg), "%s/two foxes.jpeg", out);
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
    /* What ends in a slash is a folder, whatever its name. */
    snprintf(jpeg, sizeof(jpeg), "%s/folder.png/", out);
    assert_int_equal(render_with("--model", "m", "--id", "a", "--width", "64", "--height", "64", "--out",
                                 jpeg, NULL),
                     0);
    assert_true(exists("folder.png/a.png") && exists("folder.png/results.jsonl"));
    /* The file says what it is. */
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
                                     "--height", "64", "--out", out, NULL),
                         0);
        assert_true(program_has_said(run ? "done before; 0 pictures" : "/a-red-fox-in-the-snow-"));
    }
    assert_true(exists("results.jsonl"));
    assert_int_equal(render_with("--model", "m", "--id", "fox", "--width", "64", "--height", "64", "--out",
                                 out, NULL),
                     0);
    assert_true(exists("fox.png"));
    assert_state("fox", "succeeded");
}

/* Its error is the last line, as --help says of exit code 1. */
static void one_job_that_fails_says_so_last(void **state)
{
    char file[200], *said;
    size_t size;
    (void)state;

    snprintf(file, sizeof(file), "%s/fox.png", out);
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

    snprintf(file, sizeof(file), "%s/fox.png", out);
    write_jobs(good);
    assert_int_equal(render_with("--prompt", "a", "--out", file, NULL), 2);
    assert_true(program_has_said("--model"));
    assert_int_equal(render_with("--negative-prompt", "m", "--jobs", jobs, "--out", out, NULL), 2);
    assert_true(program_has_said("--negative-prompt is for one job in flags; "));
    assert_true(program_has_said("--set negative_prompt=VALUE"));
    assert_int_equal(render_with("--out", out, NULL), 2);
    assert_true(program_has_said("--jobs FILE, or one job in flags"));
    assert_int_equal(render_with("--model", "m", "--out", "-", NULL), 2);
    assert_true(program_has_said("--out -: pictures go into a folder"));
    assert_false(dr_folder_exists("-"));
    assert_int_equal(render_with("--jobs", jobs, "--out", file, NULL), 2);
    assert_true(program_has_said("into a folder"));
    assert_int_equal(render_with("--model", "m", "--out", path_of("fox.gif"), NULL), 2);
    assert_true(program_has_said(".webp"));
    assert_int_equal(render_with("--model", "m", "--format", "jpeg", "--out", file, NULL), 2);
    assert_true(program_has_said("--format jpeg contradicts"));
    assert_int_equal(render_with("--model", "m", "--width", "63", "--out", file, NULL), 2);
    assert_int_equal(render_with("--model", "m", NULL), 2);
    assert_true(program_has_said("--out is missing"));
    assert_false(dr_folder_exists(out));
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
    assert_int_equal(render_with("--jobs", text, "--out", out, NULL), 2);
    assert_true(program_has_said("--set model=NAME"));
    assert_int_equal(render_with("--jobs", text, "--out", out, "--set", "model=m", "--set", "width=64",
                                 "--set", "height=64", "--set", "steps=3", NULL),
                     0);
    assert_true(program_has_said("2 done, 0 done before, 0 failed; 2 pictures in ") &&
                program_has_said("pictures/s"));
    json_t *result = result_of("line-000003"), *job = json_object_get(result, "job");
    assert_string_equal(json_string_value(json_object_get(job, "prompt")), "a blue hill");
    assert_int_equal(json_integer_value(json_object_get(job, "steps")), 3);
    json_decref(result);
}

static void a_dry_run_says_it_all_and_writes_nothing(void **state)
{
    (void)state;
    write_jobs(good);
    assert_int_equal(render("--dry-run"), 0);
    assert_true(
        program_has_said("m, 64x64, 2 steps: 1 picture of 1 job\nm, 64x72, 2 steps: 2 pictures of 1 job\n"));
    assert_true(program_has_said("3 jobs: 4 pictures to draw, 0 done before, 0 wrong"));
    assert_false(dr_folder_exists(out));
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
    /* A model that is not there is known without a device. */
    char *argv[] = { program,  "render", "--device", "cpu", "--models",  "models",
                     "--jobs", jobs,     "--out",    out,   "--dry-run", NULL };
    assert_int_equal(program_code(program_spawn(argv)), 1);
    assert_true(program_has_said(":4: model m: not found in models"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_lines_and_sheet, begin, program_end),
        cmocka_unit_test_setup_teardown(no_sheet_where_none_is_wanted, begin, program_end),
        cmocka_unit_test_setup_teardown(a_second_run_does_what_is_missing, begin, program_end),
        cmocka_unit_test_setup_teardown(a_crash_leaves_half_a_line, begin, program_end),
        cmocka_unit_test_setup_teardown(bad_lines_fail_alone, begin, program_end),
        cmocka_unit_test_setup_teardown(a_refused_line_takes_nobodys_place, begin, program_end),
        cmocka_unit_test_setup_teardown(a_lost_device_is_5_and_leaves_the_rest_to_be_done, begin,
                                        program_end),
        cmocka_unit_test_setup_teardown(usage_is_2_and_does_nothing, begin, program_end),
        cmocka_unit_test_setup_teardown(a_file_gets_text_and_no_json, begin, program_end),
        cmocka_unit_test_setup_teardown(an_interrupt_keeps_what_is_done, begin, program_end),
        cmocka_unit_test_setup_teardown(links_and_pipes_are_not_followed, begin, program_end),
        cmocka_unit_test_setup_teardown(a_foreign_results_file_is_left_alone, begin, program_end),
        cmocka_unit_test_setup_teardown(one_writer_a_folder, begin, program_end),
        cmocka_unit_test_setup_teardown(the_last_line_of_an_id_counts, begin, program_end),
        cmocka_unit_test_setup_teardown(a_full_disk_ends_it, begin, program_end),
        cmocka_unit_test_setup_teardown(what_is_not_supported_is_said_once_a_job, begin, program_end),
        cmocka_unit_test_setup_teardown(a_terminal_sees_steps_and_whole_lines, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_from_flags_is_one_file, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_from_flags_goes_into_a_folder, begin, program_end),
        cmocka_unit_test_setup_teardown(one_job_that_fails_says_so_last, begin, program_end),
        cmocka_unit_test_setup_teardown(flags_that_make_no_job_are_2, begin, program_end),
        cmocka_unit_test_setup_teardown(a_file_of_prompts_needs_a_model_and_no_more, begin, program_end),
        cmocka_unit_test_setup_teardown(a_dry_run_says_it_all_and_writes_nothing, begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
