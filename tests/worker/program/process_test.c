/* What the process does first: no file of ours becomes its stderr, and it leaves no core file. */
#include "worker/program/process.h"

#include "tests/worker/program.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Call it in a child, since it changes the process.  Returns the exit code of the child. */
static int in_child(int (*what)(void))
{
    const pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(what());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int no_core(void)
{
    struct rlimit limit;

    setrlimit(RLIMIT_CORE, &(struct rlimit){ 4096, 8192 });
    if (!dr_process_begin() || prctl(PR_GET_DUMPABLE) != 0 || getrlimit(RLIMIT_CORE, &limit) ||
        limit.rlim_cur != 0)
        return 1;
    dr_process_allow_cores();
    if (prctl(PR_GET_DUMPABLE) != 1 || getrlimit(RLIMIT_CORE, &limit) || limit.rlim_cur != 4096)
        return 2;
    return 0;
}

static int closed_streams(void)
{
    for (int closed = 1; closed < 8; closed++) {
        for (int fd = 0; fd < 3; fd++)
            if (closed >> fd & 1)
                close(fd);
        if (!dr_process_begin() || open("/dev/null", O_RDONLY) < 3)
            return 1;
    }
    return 0;
}

static void no_core_is_left(void **state)
{
    (void)state;
    assert_int_equal(in_child(no_core), 0);
}

static void closed_streams_are_opened(void **state)
{
    (void)state;
    assert_int_equal(in_child(closed_streams), 0);
}

static void write_jobs(char *path, const char *text)
{
    sprintf(path, "%s/jobs.jsonl", program_folder.path);
    assert_int_equal(dr_file_write(path, text, strlen(text), NULL), DR_OK);
}

/* The program does the same: with all streams closed, its messages are in none of its files. */
static void the_program_begins_so(void **state)
{
    char jobs[128], command[1024], results[128];
    void *bytes;
    size_t size;
    (void)state;

    write_jobs(jobs, "{\"id\":\"a\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":1}\nnonsense\n");
    snprintf(command, sizeof(command),
             "exec %s render --device null --jobs %s --out %s/out --log-format text <&- >&- 2>&-", program,
             jobs, program_folder.path);
    char *argv[] = { "/bin/sh", "-c", command, NULL };
    const pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    assert_int_equal(program_code(pid), 1); /* one job fails */
    snprintf(results, sizeof(results), "%s/out/results.jsonl", program_folder.path);
    assert_int_equal(dr_file_read(results, 1 << 20, &bytes, &size, NULL), DR_OK);
    int lines = 0;
    for (char *line = strtok(bytes, "\n"); line; line = strtok(NULL, "\n"), lines++)
        assert_int_equal(line[0], '{');
    assert_int_equal(lines, 2);
    free(bytes);
}

static void the_program_leaves_no_core(void **state)
{
    char jobs[128], out[128], limits[64], text[4096];
    char *argv[] = { program, "render", "--device", "null", "--null-step-us", "20000", "--jobs",
                     jobs,    "--out",  out,        NULL };
    struct stat st = { 0 };
    size_t n = 0;
    (void)state;

    write_jobs(jobs,
               "{\"id\":\"a\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":150}\n"
               "{\"id\":\"b\",\"model\":\"n\",\"width\":64,\"height\":64,\"steps\":150}\n");
    snprintf(out, sizeof(out), "%s/out", program_folder.path);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 4096, RLIM_INFINITY });
    const pid_t pid = program_spawn(argv);
    for (int i = 0; i < 3000 && stat(out, &st); i++) /* it has begun */
        usleep(10000);
    snprintf(limits, sizeof(limits), "/proc/%d/limits", (int)pid);
    FILE *file = fopen(limits, "r");
    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = 0;
    fclose(file);
    kill(pid, SIGTERM);
    program_code(pid);
    const char *core = strstr(text, "Max core file size");
    assert_non_null(core);
    assert_int_equal(strtol(core + strlen("Max core file size"), NULL, 10), 0);
}

/* A list that was lost on a full disk is no success. */
static void output_that_is_lost_is_told(void **state)
{
    char jobs[128], command[1024];
    (void)state;

    write_jobs(jobs, "{\"id\":\"a\",\"model\":\"m\"}\n");
    snprintf(command, sizeof(command),
             "exec %s render --device null --jobs %s --out %s/out --dry-run >/dev/full", program, jobs,
             program_folder.path);
    char *argv[] = { "/bin/sh", "-c", command, NULL };
    const pid_t pid = fork();
    if (pid == 0) {
        const int fd = open(program_said, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        dup2(fd, STDERR_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    assert_int_equal(program_code(pid), 1);
    assert_true(program_has_said("standard output: No space left on device"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_core_is_left),
        cmocka_unit_test(closed_streams_are_opened),
        cmocka_unit_test_setup_teardown(the_program_begins_so, program_begin, program_end),
        cmocka_unit_test_setup_teardown(the_program_leaves_no_core, program_begin, program_end),
        cmocka_unit_test_setup_teardown(output_that_is_lost_is_told, program_begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
