/* Files of jobs, JSON Lines and CSV: what each line gives, and that a bad one stops nothing. */
#include "worker/jobs_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static dr_status open_text(dr_jobs_file **out, const char *suffix, const char *text, size_t size,
                           dr_error *err)
{
    snprintf(path, sizeof(path), "/tmp/darkroom-jobs-XXXXXX%s", suffix);
    const int fd = mkstemps(path, (int)strlen(suffix));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    const dr_status rc = dr_jobs_file_open(out, path, "line-", err);
    unlink(path);
    return rc;
}

static dr_jobs_file *csv(const char *text)
{
    dr_jobs_file *file;
    dr_error err;
    if (open_text(&file, ".csv", text, strlen(text), &err))
        fail_msg("%s", err.text);
    return file;
}

/* The next job is a good one with this id and prompt. */
static void expect(dr_jobs_file *file, long line, const char *id, const char *prompt)
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

static void expect_bad(dr_jobs_file *file, long line, dr_status rc, const char *id, const char *says)
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

static void expect_end(dr_jobs_file *file)
{
    dr_jobs_entry e;
    assert_false(dr_jobs_file_next(file, &e));
    assert_int_equal(dr_jobs_file_status(file, NULL), DR_OK);
    dr_jobs_file_close(file);
}

static void json_lines(void **state)
{
    static const char text[] =
        "\n{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"p\"}\r\n  \nno\n{\"model\":\"m\"}";
    dr_jobs_file *file;
    (void)state;

    assert_int_equal(open_text(&file, ".jsonl", text, sizeof(text) - 1, NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 3);
    expect(file, 2, "a", "p");
    expect_bad(file, 4, DR_EFORMAT, "line-000004", "JSON");
    expect(file, 5, "line-000005", "");
    expect_end(file);
}

static void csv_rows(void **state)
{
    dr_jobs_file *file =
        csv("\xef\xbb\xbfid,model,prompt,steps\r\n"
            "a,m,plain,4\r\n"
            "\r\n"
            "b,m,\"a red fox, in \"\"snow\"\"\",\n"
            "c,m,\"two\nlines\",7\n"
            ",m,,\n"
            "d,m\n"
            "e,m,\"\",\"9\"");
    (void)state;

    assert_int_equal(dr_jobs_file_count(file), 6);
    expect(file, 2, "a", "plain");
    expect(file, 4, "b", "a red fox, in \"snow\"");
    expect(file, 5, "c", "two\nlines");
    expect(file, 7, "line-000007", "");
    expect(file, 8, "d", "");
    expect(file, 9, "e", "");
    expect_end(file);
}

static void bad_csv_rows(void **state)
{
    dr_jobs_file *file =
        csv("id,model,steps,seed\n"
            "a,m,0,1\n"
            "b,m,many,1\n"
            "c,,1,1\n"
            "d,m,1,-1\n"
            "e,m,1,1,1\n"
            "f,m,x\"y\",1\n"
            "g/h,m,1,1\n"
            "ok,m,1,18446744073709551615\n"
            "open,\"m,1,1\n");
    (void)state;

    expect_bad(file, 2, DR_EINVAL, "a", "steps: 0");
    expect_bad(file, 3, DR_EINVAL, "b", "steps: \"many\"");
    expect_bad(file, 4, DR_EINVAL, "c", "model: is required");
    expect_bad(file, 5, DR_EINVAL, "d", "seed: \"-1\"");
    expect_bad(file, 6, DR_EFORMAT, "line-000006", "more cells");
    expect_bad(file, 7, DR_EFORMAT, "line-000007", "cell 3: a quote");
    expect_bad(file, 8, DR_EINVAL, "line-000008", "id: \"g/h\"");
    expect(file, 9, "ok", "");
    expect_bad(file, 10, DR_EFORMAT, "line-000010", "cell 2: a quote");
    expect_end(file);
}

static void a_header_names_fields(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "first row" },
        { "id,modell\na,m\n", "\"modell\"" },
        { "id,model,id\n", "two columns are called id" },
        { "id,\"model\n", "column 2" },
        { "id;model\na;m\n", "\"id;model\"" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_jobs_file *file;
        dr_error err;
        assert_int_equal(open_text(&file, ".csv", cases[i].text, strlen(cases[i].text), &err), DR_EINVAL);
        assert_null(file);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, path))
            fail_msg("%s", err.text);
    }
}

static void an_endless_quote_is_one_bad_row(void **state)
{
    const size_t size = 3 << 20;
    char *text = malloc(size + 1);
    dr_jobs_file *file;
    dr_jobs_entry e;
    (void)state;

    memset(text, 'x', size);
    for (size_t i = 99; i < size; i += 100)
        text[i] = '\n';
    text[size] = 0;
    memcpy(text, "model,prompt\nm,\"", 16);
    assert_int_equal(open_text(&file, ".csv", text, size, NULL), DR_OK);
    assert_true(dr_jobs_file_next(file, &e));
    assert_int_equal(e.rc, DR_EFORMAT); /* and not 3 MB in memory for a prompt */
    assert_non_null(strstr(e.err.text, "at most"));
    dr_job_free(e.job);
    dr_jobs_file_close(file);
    free(text);
}

static void nuls_are_seen(void **state)
{
    static const char text[] = "model,prompt\nm,a\0b\nm,c\n";
    dr_jobs_file *file;
    (void)state;

    assert_int_equal(open_text(&file, ".csv", text, sizeof(text) - 1, NULL), DR_OK);
    expect_bad(file, 2, DR_EFORMAT, "line-000002", "NUL");
    expect(file, 3, "line-000003", "c");
    expect_end(file);
}

static void a_missing_file_is_named(void **state)
{
    dr_jobs_file *file;
    dr_error err;
    (void)state;
    assert_int_equal(dr_jobs_file_open(&file, "/no/such/jobs.jsonl", "line-", &err), DR_ENOTFOUND);
    assert_non_null(strstr(err.text, "/no/such/jobs.jsonl"));
    assert_int_equal(dr_jobs_file_open(&file, "/tmp", "line-", &err), DR_OK); /* a folder opens, and then */
    dr_jobs_entry e;
    assert_false(dr_jobs_file_next(file, &e));
    assert_int_equal(dr_jobs_file_status(file, &err), DR_EIO);
    dr_jobs_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines),
        cmocka_unit_test(csv_rows),
        cmocka_unit_test(bad_csv_rows),
        cmocka_unit_test(a_header_names_fields),
        cmocka_unit_test(an_endless_quote_is_one_bad_row),
        cmocka_unit_test(nuls_are_seen),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("jobs_file", tests, NULL, NULL);
}
