/* Files of jobs, and the command render: each of their allocations fails in turn (tests/worker/torture.h). */
#include "tests/worker/torture.h"

#include "tests/support/temp_folder.h"
#include "worker/program/commands.h"
#include "worker/render/jobs_file.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { NOTHING_FAILED = 100 /* as a process's exit code */ };

static const char json_lines[] =
    "{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"one\"}\n"
    "{\"id\":\"b\",\"model\":\"m\",\"steps\":0}\n"
    "not a job\n"
    "{\"id\":\"d\",\"model\":\"m\",\"prompt\":\"four\"}\n";
static const char rows[] =
    "id,model,prompt,steps\n"
    "a,m,\"one\n\n\n of several lines, and long enough to need more room than the first"
    " had, which takes some more words until it does, as getline begins with 120\",20\n"
    "b,m,two,0\n"
    "c,m,\"three,3\"x\n"
    "d,m,four,5\n";

/* What the four are without a failure. */
static const dr_status answers[] = { DR_OK, DR_EINVAL, DR_EFORMAT, DR_OK };

static dr_status read_jobs(void *context, dr_error *err)
{
    dr_jobs_file *file;
    dr_jobs_entry e;
    dr_status rc = dr_jobs_file_open(&file, context, "line-", err), lacked = DR_OK;
    int n = 0;

    assert_int_equal(file == NULL, rc != DR_OK);
    if (rc)
        return rc;
    for (; dr_jobs_file_next(file, &e); n++) {
        assert_true(n < 4);
        if (e.rc == DR_ENOMEM) {
            lacked = e.rc;
            *err = e.err;
        } else if (e.rc != answers[n]) {
            fail_msg("entry %d: %s", n, e.err.text);
        } else if (n == 0) {
            assert_true(strncmp(e.job->prompt, "one", 3) == 0);
            assert_true(strlen(e.job->prompt) == 3 || strstr(e.job->prompt, "begins with 120"));
        }
        dr_job_free(e.job);
    }
    rc = dr_jobs_file_status(file, err);
    if (!rc && !lacked)
        assert_int_equal(n, 4);
    dr_jobs_file_close(file);
    return rc ? rc : lacked;
}

static void files_of_jobs_survive_any_allocation(void **state)
{
    temp_folder folder;
    (void)state;

    temp_open(&folder);
    assert_true(
        torture(read_jobs, (void *)temp_write(&folder, "jobs.jsonl", json_lines, strlen(json_lines))) > 30);
    assert_true(torture(read_jobs, (void *)temp_write(&folder, "jobs.csv", rows, strlen(rows))) > 10);
    temp_close(&folder);
}

/* --- render ---------------------------------------------------------------------------------------- */

static const char *render_argv[] = { "darkroom", "render", "--jobs",     NULL,          "--out", NULL,
                                     "--device", "null",   "--no-sheet", "--log-level", "error", NULL };
enum { RENDER_ARGS = sizeof(render_argv) / sizeof(render_argv[0]) - 1 };

/* Runs in a process of its own, because libvips ends with it.  Returns the exit code; the process must end
 * by exit. */
static int render(int nth, bool for_good)
{
    static const dr_command *const commands[] = { &dr_cmd_render };
    static char *const environment[] = { NULL };
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        const int nobody = open("/dev/null", O_WRONLY);
        dup2(nobody, STDERR_FILENO);
        allocations_fail(nth, for_good);
        const int code = dr_cli_run(commands, 1, RENDER_ARGS, (char **)(uintptr_t)render_argv, environment);
        _exit(code == DR_EXIT_DONE && allocations_failed() == 0 ? NOTHING_FAILED : code);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* So many of the four lines have a result, each once. */
static int lines_done(const char *folder)
{
    static const char *const ids[] = { "\"id\":\"a\",", "\"id\":\"b\",", "\"id\":\"c\",", "\"id\":\"d\"," };
    char path[512], text[65536];
    size_t size = 0;
    FILE *file;
    int n = 0;

    snprintf(path, sizeof(path), "%s/results.jsonl", folder);
    file = fopen(path, "r");
    if (file) {
        size = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[size] = 0;
    for (int i = 0; i < 4; i++)
        n += strstr(text, ids[i]) != NULL;
    assert_null(strstr(text, "line-")); /* all of these have ids */
    return n;
}

/* Either render does everything, or it says that it does not.  In that case a second run does it. */
static void render_survives_any_allocation(void **state)
{
    static const char lines[] =
        "{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"one\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"b\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"c\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"d\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n";
    char out[256];
    temp_folder folder;
    int code = 0, n;
    (void)state;

    temp_open(&folder);
    render_argv[3] = temp_write(&folder, "jobs.jsonl", lines, strlen(lines));
    render_argv[5] = out;
    for (n = 1; code != NOTHING_FAILED; n += 1 + n / 15) {
        snprintf(out, sizeof(out), "%s/out-%d", folder.path, n);
        code = render(n, n % 7 == 0);
        if (code == DR_EXIT_DONE || code == NOTHING_FAILED)
            assert_int_equal(lines_done(out), 4);
        else
            assert_int_equal(render(0, false), NOTHING_FAILED);
        assert_int_equal(lines_done(out), 4);
    }
    assert_true(n > 100);
    temp_close(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(render_survives_any_allocation), /* before there are threads */
        cmocka_unit_test(files_of_jobs_survive_any_allocation),
    };

    torture_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
