/* program.h - the program itself, run by a test: what it says and what it returns, and a folder for what it
 * writes. */
#ifndef DR_TESTS_WORKER_PROGRAM_H
#define DR_TESTS_WORKER_PROGRAM_H

#include "tests/support/temp_folder.h"
#include "worker/support/files.h"

#include <fcntl.h>
#include <libgen.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char program[512];          /* for argv[0] */
static temp_folder program_folder; /* from program_begin() to program_end() */
static char program_said[128];     /* a file in program_folder, which gets what the program prints */

/* build/CONFIG/tests/worker/render/render_test -> build/CONFIG/darkroom */
static inline void program_find(char *test)
{
    snprintf(program, sizeof(program), "%s/../../../darkroom", dirname(test));
}

/* As set-up and teardown of a test. */
static inline int program_begin(void **state)
{
    (void)state;
    temp_open(&program_folder);
    snprintf(program_said, sizeof(program_said), "%s/said", program_folder.path);
    return 0;
}

static inline int program_end(void **state)
{
    (void)state;
    temp_close(&program_folder);
    return 0;
}

static inline pid_t program_spawn(char *const *argv)
{
    const pid_t pid = fork();

    if (pid == 0) {
        const int fd = open(program_said, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        dup2(fd, STDERR_FILENO);
        dup2(fd, STDOUT_FILENO);
        execv(program, argv);
        _exit(127);
    }
    return pid;
}

static inline int program_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status)); /* never by a signal */
    return WEXITSTATUS(status);
}

static inline bool program_has_said(const char *text)
{
    void *bytes;
    size_t size;
    assert_int_equal(dr_file_read(program_said, 1 << 20, &bytes, &size, NULL), DR_OK);
    const bool found = strstr(bytes, text) != NULL;
    if (!found)
        fprintf(stderr, "%s\n", (char *)bytes);
    free(bytes);
    return found;
}

#endif
