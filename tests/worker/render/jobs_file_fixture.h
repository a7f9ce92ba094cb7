/* jobs_file_fixture.h - a jobs file with a given text, and what is read from it. */
#ifndef DR_TESTS_WORKER_RENDER_JOBS_FILE_FIXTURE_H
#define DR_TESTS_WORKER_RENDER_JOBS_FILE_FIXTURE_H

#include "tests/support/temp_folder.h"
#include "worker/render/jobs_file.h"

static temp_folder jobs_folder;

/* As set-up and teardown of a group of tests. */
static inline int begin(void **state)
{
    (void)state;
    temp_open(&jobs_folder);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    temp_close(&jobs_folder);
    return 0;
}

/* Open a file with this text, whose name has this suffix.  jobs_folder.file is its path; it is gone from
 * there already. */
static inline dr_status open_text(dr_jobs_file **out, const char *suffix, const char *text, size_t size,
                                  dr_error *err)
{
    char name[16];

    snprintf(name, sizeof(name), "jobs%s", suffix);
    temp_write(&jobs_folder, name, text, size);
    const dr_status rc = dr_jobs_file_open(out, jobs_folder.file, "line-", err);
    unlink(jobs_folder.file);
    return rc;
}

/* A CSV file that can be opened. */
static inline dr_jobs_file *csv(const char *text)
{
    dr_jobs_file *file;
    dr_error err;
    if (open_text(&file, ".csv", text, strlen(text), &err))
        fail_msg("%s", err.text);
    return file;
}

/* The next job is a good one with this id and prompt. */
static inline void expect(dr_jobs_file *file, long line, const char *id, const char *prompt)
{
    dr_jobs_entry e;
    assert_true(dr_jobs_file_next(file, &e));
    if (e.rc)
        fail_msg("%s", e.err.text);
    assert_int_equal(e.line, line);
    assert_string_equal(e.job->id, id);
    assert_string_equal(e.job->prompt, prompt);
    dr_job_free(e.job);
}

/* The next job is none: on this line, for this reason, answered under this id. */
static inline void expect_bad(dr_jobs_file *file, long line, dr_status rc, const char *id, const char *says)
{
    dr_jobs_entry e;
    assert_true(dr_jobs_file_next(file, &e));
    assert_int_equal(e.rc, rc);
    assert_int_equal(e.line, line);
    assert_string_equal(e.job->id, id);
    if (!strstr(e.err.text, says))
        fail_msg("%s", e.err.text);
    dr_job_free(e.job);
}

/* No more jobs, and all could be read. */
static inline void expect_end(dr_jobs_file *file)
{
    dr_jobs_entry e;
    assert_false(dr_jobs_file_next(file, &e));
    assert_int_equal(dr_jobs_file_status(file, NULL), DR_OK);
    dr_jobs_file_close(file);
}

#endif
