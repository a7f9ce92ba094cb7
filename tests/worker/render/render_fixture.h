/* render_fixture.h - `darkroom render` run on the null device by a test: its jobs, its folder, and what it
 * left there. */
#ifndef DR_TESTS_WORKER_RENDER_RENDER_FIXTURE_H
#define DR_TESTS_WORKER_RENDER_RENDER_FIXTURE_H

#include "tests/worker/program.h"

#include <jansson.h>
#include <sys/stat.h>

static char render_jobs[96], render_out[96]; /* the jobs file, and the folder, which render makes */

/* As set-up of a test; program_end() is its teardown. */
static inline int begin(void **state)
{
    program_begin(state);
    snprintf(render_jobs, sizeof(render_jobs), "%s/jobs.jsonl", program_folder.path);
    snprintf(render_out, sizeof(render_out), "%s/a/b/out", program_folder.path);
    return 0;
}

/* A file below the folder.  The last four are kept. */
static inline char *path_of(const char *name)
{
    static char path[4][256];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", render_out, name);
    return path[turn];
}

static inline bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* The jobs file. */
static inline void write_jobs(const char *text)
{
    FILE *file = fopen(render_jobs, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* `darkroom render --jobs FILE --out FOLDER`, and a flag more or NULL; returns its exit code. */
static inline int render(const char *flag)
{
    char *argv[] = {
        program,  "render",    "--device", "null",     "--null-step-us",        "200", "--log-level", "warn",
        "--jobs", render_jobs, "--out",    render_out, (char *)(uintptr_t)flag, NULL
    };
    return program_code(program_spawn(argv));
}

/* `darkroom render` on the null device with these arguments, up to NULL. */
static inline int render_with(char *first, ...)
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

/* The last line about a job. */
static inline json_t *result_of(const char *id)
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

static inline void assert_state(const char *id, const char *expected)
{
    json_t *result = result_of(id);
    assert_string_equal(json_string_value(json_object_get(result, "state")), expected);
    json_decref(result);
}

/* Another one after a file was written anew. */
static inline ino_t inode(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_ino;
}

/* How often a text stands in what the program said. */
static inline int times_said(const char *text)
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

/* Three jobs with four pictures. */
static const char good[] =
    "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a red fox\",\"width\":64,\"height\":64,\"steps\":2}\n"
    "{\"id\":\"two\",\"model\":\"m\",\"images\":2,\"width\":64,\"height\":72,\"steps\":2,\"format\":\"jpeg\"}"
    "\n"
    "\n"
    "{\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":3,\"format\":\"webp\"}\n";

/* One job. */
static const char one[] = "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}\n";

#endif
