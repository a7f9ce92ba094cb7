/* Files of jobs, JSON Lines and CSV: what each line gives, and that a bad one stops nothing. */
#include "worker/jobs/job_fields.h"
#include "worker/render/jobs_file.h"
#include "worker/support/text_file.h"

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
            "d,m,,\n"
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
            "f,m,\"x\"y,1\n"
            "g/h,m,1,1\n"
            "ok,m,1,18446744073709551615\n"
            "open,\"m,1,1\n");
    (void)state;

    expect_bad(file, 2, DR_EINVAL, "a", "steps: 0");
    expect_bad(file, 3, DR_EINVAL, "b", "steps: \"many\"");
    expect_bad(file, 4, DR_EINVAL, "c", "model: is required");
    expect_bad(file, 5, DR_EINVAL, "d", "seed: -1;");
    expect_bad(file, 6, DR_EFORMAT, "line-000006", "more cells");
    expect_bad(file, 7, DR_EINVAL, "f", "steps: \"x\"y\"\"");
    expect_bad(file, 8, DR_EFORMAT, "line-000008", "cell 3: text after the quote");
    expect_bad(file, 9, DR_EINVAL, "line-000009", "id: \"g/h\"");
    expect(file, 10, "ok", "");
    expect_bad(file, 11, DR_EFORMAT, "line-000011", "cell 2: a quote opens it, and none closes it");
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
        { "id,\"model\n", "cell 2: a quote" },
        { "id,model;prompt\na,m;p\n", "\"model;prompt\"" },
        { ",id,model\n0,a,m\n", "index=False" }, /* pandas */
        { "id,,model\na,,m\n", "column 2 has no name" },
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

/* The cases of shared lists of what spreadsheets and programs write. */

static void carriage_returns_end_rows(void **state)
{
    dr_jobs_file *file = csv("id,model,prompt\ra,m,a boat\rb,m,a cat\r");
    (void)state;

    assert_int_equal(dr_jobs_file_count(file), 2);
    expect(file, 2, "a", "a boat");
    expect(file, 3, "b", "a cat");
    expect_end(file);
    file = csv("id,model,prompt\ra,m,a boat\r\nb,m,a cat\r\n");
    expect(file, 2, "a", "a boat");
    expect(file, 3, "b", "a cat");
    expect_end(file);
    file = csv("id,model,prompt\na,m,a red fox\rin the snow,m\nb,m,\"a\r\ncat\rand\n\"\nc,m,\n");
    expect(file, 2, "a", "a red fox");
    expect_bad(file, 3, DR_EFORMAT, "line-000003", "2 cells");
    expect(file, 4, "b", "a\r\ncat\rand\n");
    expect(file, 8, "c", "");
    expect_end(file);
}

static void a_quote_opens_only_at_the_start(void **state)
{
    dr_jobs_file *file =
        csv("id,model,prompt\n"
            "a,m,a 5\" vinyl disk\n"
            "b,m,a cat\n"
            "c,m,a 12\" disk\n"
            "d,m,\"a fox, red\"\n"
            "e,m, \"hello\" he said\n"
            "f,m,\"never closed\n"
            "g,m,a dog\n"
            "h,m,a hen\n");
    (void)state;

    assert_int_equal(dr_jobs_file_count(file), 6);
    expect(file, 2, "a", "a 5\" vinyl disk");
    expect(file, 3, "b", "a cat");
    expect(file, 4, "c", "a 12\" disk");
    expect(file, 5, "d", "a fox, red");
    expect(file, 6, "e", " \"hello\" he said");
    expect_bad(file, 7, DR_EFORMAT, "line-000007", "lines 7 to 9: cell 3: a quote opens it");
    expect_end(file);
}

static void a_short_row_fails_alone(void **state)
{
    dr_jobs_file *file = csv("id,model,prompt\na,m,x\nb,m\nc\nd,m,y\n");
    (void)state;

    expect(file, 2, "a", "x");
    expect_bad(file, 3, DR_EFORMAT, "line-000003", "2 cells; the first one has 3 names");
    expect_bad(file, 4, DR_EFORMAT, "line-000004", "1 cells");
    expect(file, 5, "d", "y");
    expect_end(file);
}

static void layouts_of_others_are_read(void **state)
{
    static const struct {
        const char *suffix, *text;
    } cases[] = {
        { ".CSV", "id,model,prompt,steps\na,m,p,4\n" },
        { ".csv", "id,model,prompt,steps,\na,m,p,4,\n" },
        { ".csv", "id,model,prompt,steps,,\na,m,p,4\n" },
        { ".csv", "id,model,prompt,steps\na,m,p,4,,,\n" },
        { ".csv", "id, model, prompt, steps\na, m, p, 4\n" },
        { ".csv", "id, model, prompt, steps\na, m, \"p\" , 4\n" },
        { ".csv", " id ,model , prompt,steps \na,m,p,4\n" },
        { ".csv", "id,model,prompt,steps\n,,,\n  \na,m,p,4\n\"\",\"\",,\n" },
        { ".csv", "id;model;prompt;steps\na;m;p;4\n" },
        { ".csv", "\"id\";\"model\";\"prompt\";\"steps\"\r\n\"a\";\"m\";\"p\";\"4\"\r\n" },
        { ".csv", "id\tmodel\tprompt\tsteps\na\tm\tp\t4.0\n" },
        { ".tsv", "id\tmodel\tprompt\tsteps\na\tm\tp\t4\n" },
        { ".csv", "sep=;\nid;model;prompt;steps\na;m;p;4\n" },
        { ".csv", "sep=|\r\nid|model|prompt|steps\r\na|m|p|4\r\n" },
        { ".csv", "\xef\xbb\xbf\"id\",model,prompt,steps\na,m,p,4" },
        { ".csv", "\n\nid,model,prompt,steps\na,m,p,4" },
        { ".csv",
          "#TYPE System.Management.Automation.PSCustomObject\r\n"
          "\"id\",\"model\",\"prompt\",\"steps\"\r\n\"a\",\"m\",\"p\",\"4\"\r\n" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_jobs_file *file;
        dr_jobs_entry e;
        dr_error err;
        if (open_text(&file, cases[i].suffix, cases[i].text, strlen(cases[i].text), &err))
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_int_equal(dr_jobs_file_count(file), 1);
        assert_true(dr_jobs_file_next(file, &e));
        if (e.rc)
            fail_msg("%s: %s", cases[i].text, e.err.text);
        assert_string_equal(e.job->id, "a");
        assert_string_equal(e.job->model, "m");
        assert_string_equal(e.job->prompt, "p");
        assert_int_equal(e.job->steps, 4);
        dr_job_free(e.job);
        expect_end(file);
    }
}

static void numbers_of_others_are_read(void **state)
{
    dr_jobs_file *file =
        csv("id;model;width;guidance_scale;seed\n"
            "a;m;64.0;7,5;1.0\nb;m;;2.5;\nc;m; 64 ;1,000,5;\n");
    dr_jobs_entry e;
    (void)state;

    assert_true(dr_jobs_file_next(file, &e));
    assert_int_equal(e.rc, DR_OK);
    assert_true(e.job->width == 64 && e.job->guidance_scale == 7.5f && e.job->seed == 1);
    dr_job_free(e.job);
    assert_true(dr_jobs_file_next(file, &e));
    assert_int_equal(e.rc, DR_OK);
    assert_true(e.job->width == 0 && e.job->guidance_scale == 2.5f);
    dr_job_free(e.job);
    expect_bad(file, 4, DR_EINVAL, "c", "guidance_scale: \"1,000,5\"");
    expect_end(file);
}

static void what_has_no_name_may_say_nothing(void **state)
{
    dr_jobs_file *file = csv("id,model,\na,m,x\nb,m,,x\nc,m, , ,\n");
    char wide[400] = "";
    (void)state;

    expect_bad(file, 2, DR_EFORMAT, "line-000002", "cell 3 is more cells");
    expect_bad(file, 3, DR_EFORMAT, "line-000003", "cell 4 is more cells");
    expect(file, 4, "c", "");
    expect_end(file);
    strcpy(wide, "id,model\na,m");
    memset(wide + strlen(wide), ',', 100);
    strcat(wide, "x\nb,m");
    memset(wide + strlen(wide), ',', 200);
    file = csv(wide);
    expect_bad(file, 2, DR_EFORMAT, "line-000002", "cell 102 is");
    expect(file, 3, "b", "");
    expect_end(file);
}

/* The same text in UTF-16; a byte FF stands for half a surrogate pair. */
static size_t widen(char *to, const char *text, bool big, bool mark)
{
    size_t n = 0;

    for (int i = mark ? -1 : 0; i < (int)strlen(text); i++) {
        const unsigned char c = i < 0 ? 0 : (unsigned char)text[i];
        const unsigned unit = i < 0 ? 0xfeff : c == 0xff ? 0xd83e : c == 0xfe ? 0xdd8a : c;
        to[n++] = (char)(big ? unit >> 8 : unit);
        to[n++] = (char)(big ? unit : unit >> 8);
    }
    return n;
}

static void utf16_is_read(void **state)
{
    static const struct {
        const char *suffix, *text;
    } cases[] = {
        { ".csv",
          "id,model,prompt\r\na,m,fox \xff\xfe\xe9\r\nb,m,half \xff\r\nc,m,\xfe\r\nd,m,\xff\xff\xfe" },
        { ".jsonl",
          "\r\n{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"fox \xff\xfe\xe9\"}\r\n"
          "{\"id\":\"b\",\"model\":\"m\",\"prompt\":\"half \xff\"}\r\n"
          "{\"id\":\"c\",\"model\":\"m\",\"prompt\":\"\xfe\"}\r\n"
          "{\"id\":\"d\",\"model\":\"m\",\"prompt\":\"\xff\xff\xfe\"}" },
    };
    (void)state;

    for (int form = 0; form < 8; form++) {
        char wide[1024];
        const size_t size = widen(wide, cases[form & 1].text, form & 2, form & 4);
        dr_jobs_file *file;
        dr_error err;
        if (open_text(&file, cases[form & 1].suffix, wide, size, &err))
            fail_msg("%s", err.text);
        assert_int_equal(dr_jobs_file_count(file), 4);
        expect(file, 2, "a", "fox \xf0\x9f\xa6\x8a\xc3\xa9");
        for (int line = 3; line < 6; line++) {
            dr_jobs_entry e;
            assert_true(dr_jobs_file_next(file, &e));
            assert_int_not_equal(e.rc, DR_OK); /* not a text */
            assert_int_equal(e.line, line);
            dr_job_free(e.job);
        }
        expect_end(file);
    }
}

static void other_encodings_are_told(void **state)
{
    dr_jobs_file *file;
    dr_error err;
    (void)state;

    assert_int_equal(open_text(&file, ".jsonl", "\xff\xfe\0\0{\0\0\0", 8, &err), DR_EFORMAT);
    assert_non_null(strstr(err.text, "UTF-32"));
    assert_int_equal(open_text(&file, ".jsonl", "\0\0\xfe\xff\0\0\0{", 8, &err), DR_EFORMAT);
    file = csv("id,model,prompt\na,m,caf\xe9\nb,m,p\n"); /* Windows-1252 */
    expect_bad(file, 2, DR_EINVAL, "a", "prompt: a text of 4 bytes, not valid");
    expect(file, 3, "b", "p");
    expect_end(file);
}

static void marks_and_carriage_returns_in_json_lines(void **state)
{
    static const char text[] =
        "\xef\xbb\xbf{\"id\":\"a\",\"model\":\"m\"}\r{\"id\":\"b\",\"model\":\"m\"}\r\n\r\n"
        "\xef\xbb\xbf{\"id\":\"c\",\"model\":\"m\"}\n\xef\xbb\xbf";
    dr_jobs_file *file;
    (void)state;

    assert_int_equal(open_text(&file, ".jsonl", text, sizeof(text) - 1, NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 3);
    expect(file, 1, "a", "");
    expect(file, 2, "b", "");
    expect(file, 4, "c", "");
    expect_end(file);
}

/* As `cat a.csv b.csv` makes them, each with its mark, a quote behind it. */
static void marks_between_rows_are_skipped(void **state)
{
    static const char rows[] = "id,model,prompt\na,m,p\n\xef\xbb\xbf\"b\",m,q\n\xef\xbb\xbf";
    static const char prompts[] =
        "a\n\xef\xbb\xbf"
        "b\n\xef\xbb\xbf\n";
    dr_jobs_file *file;
    (void)state;

    file = csv(rows);
    assert_int_equal(dr_jobs_file_count(file), 2);
    expect(file, 2, "a", "p");
    expect(file, 3, "b", "q");
    expect_end(file);

    char wide[256];
    const size_t size = widen(wide, "id,model,prompt\r\na,m,p\r\n", false, true),
                 more = widen(wide + size, "b,m,q\r\n", false, true);
    assert_int_equal(open_text(&file, ".csv", wide, size + more, NULL), DR_OK);
    expect(file, 2, "a", "p");
    expect(file, 3, "b", "q");
    expect_end(file);

    assert_int_equal(open_text(&file, ".txt", prompts, sizeof(prompts) - 1, NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 2);
    dr_jobs_file_close(file);
}

/* Just below, at and above the limit, where a mark takes bytes of the line, too. */
static void a_long_line_behind_a_mark_is_read_or_refused(void **state)
{
    static const char job[] = "{\"id\":\"a\",\"model\":\"m\"}";
    char *text = malloc(DR_JOB_LINE_BYTES_MAX + 64);
    (void)state;

    for (int over = -4; over <= 4; over++)
        for (int prompts = 0; prompts < 2; prompts++) {
            const size_t line = (size_t)(DR_JOB_LINE_BYTES_MAX + over), size = 1 + 3 + line;
            dr_jobs_file *file;
            dr_jobs_entry e;
            memset(text, ' ', size);
            memcpy(text, "\n\xef\xbb\xbf", 4);
            memcpy(text + 4, prompts ? "a" : job, prompts ? 1 : strlen(job));
            assert_int_equal(open_text(&file, prompts ? ".txt" : ".jsonl", text, size, NULL), DR_OK);
            assert_true(dr_jobs_file_next(file, &e));
            if (over > 0)
                assert_int_equal(e.rc, DR_EFORMAT);
            else if (e.rc != (prompts ? DR_EINVAL : DR_OK)) /* a prompt names no model */
                fail_msg("%s", e.err.text);
            dr_job_free(e.job);
            expect_end(file);
        }
    free(text);
}

static void a_long_line_fails_alone(void **state)
{
    const size_t size = 3 << 20;
    char *text = malloc(size);
    dr_jobs_file *file;
    (void)state;

    for (int tables = 0; tables < 2; tables++) {
        const char *head = tables ? "id,model,prompt\na,m," : "{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"";
        const char *tail = tables ? "\nb,m,p\n" : "\"}\n{\"id\":\"b\",\"model\":\"m\",\"prompt\":\"p\"}\n";
        memset(text, 'x', size);
        memcpy(text, head, strlen(head));
        memcpy(text + size - strlen(tail), tail, strlen(tail));
        assert_int_equal(open_text(&file, tables ? ".csv" : ".jsonl", text, size, NULL), DR_OK);
        assert_int_equal(dr_jobs_file_count(file), 2);
        expect_bad(file, tables ? 2 : 1, DR_EFORMAT, tables ? "line-000002" : "line-000001",
                   "at most 1048576");
        expect(file, tables ? 3 : 2, "b", "p");
        expect_end(file);
    }
    free(text);
}

static void a_pipe_is_read_once(void **state)
{
    static const char text[] = "{\"id\":\"a\",\"model\":\"m\"}\n{\"id\":\"b\",\"model\":\"m\"}";
    dr_jobs_file *file;
    char name[32];
    int ends[2];
    (void)state;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, sizeof(text) - 1), sizeof(text) - 1);
    close(ends[1]);
    snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
    assert_int_equal(dr_jobs_file_open(&file, name, "line-", NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 0);
    expect(file, 1, "a", "");
    expect(file, 2, "b", "");
    expect_end(file);
    close(ends[0]);
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
    assert_int_equal(e.rc, DR_EFORMAT);
    assert_non_null(strstr(e.err.text, "lines 2 to 31459: cell 2: a quote opens it, and none closes it"));
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

    /* One near the beginning makes no UTF-16 of it: all lines would be one. */
    assert_int_equal(open_text(&file, ".txt", "a\0b\nc\n", 6, NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 2);
    expect_bad(file, 1, DR_EINVAL, "line-000001", "prompt");
    dr_jobs_file_close(file);
}

static void a_missing_file_is_named(void **state)
{
    dr_jobs_file *file;
    dr_error err;
    (void)state;
    assert_int_equal(dr_jobs_file_open(&file, "/no/such/jobs.jsonl", "line-", &err), DR_ENOTFOUND);
    assert_non_null(strstr(err.text, "/no/such/jobs.jsonl"));
    assert_int_equal(dr_jobs_file_open(&file, "/tmp", "line-", &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "/tmp: a folder"));
}

/* A file that breaks off is not one that ends: /proc/self/mem can't be read at 0, and opens. */
static void a_failed_read_is_an_error(void **state)
{
    dr_text_file *file;
    dr_error err;
    (void)state;
    assert_int_equal(dr_text_file_open(&file, "/proc/self/mem", &err), DR_EIO);
    assert_null(file);
    assert_non_null(strstr(err.text, "/proc/self/mem"));
}

/* --- prompts and defaults -------------------------------------------------------------------- */

static dr_job *defaults_of(const char *line)
{
    dr_job *job = dr_job_create();
    const char *at = line;
    char name[32], value[64];
    int used;

    assert_non_null(job);
    for (; sscanf(at, " %31[^=]=%63s%n", name, value, &used) == 2; at += used)
        assert_int_equal(dr_job_set_text(job, dr_job_field_find(name), value, NULL, NULL), DR_OK);
    return job;
}

static void a_line_of_a_text_file_is_a_prompt(void **state)
{
    static const char text[] = "a red fox, in the \"snow\"\r\n\n \t \n  {\"a\": b}\t \nl\xc3\xa4rche";
    dr_job *defaults = defaults_of("model=tiny steps=20 seed=7");
    dr_jobs_file *file;
    dr_jobs_entry e;
    dr_error err;
    (void)state;

    if (open_text(&file, ".TXT", text, sizeof(text) - 1, &err))
        fail_msg("%s", err.text);
    assert_int_equal(dr_jobs_file_count(file), 3);
    dr_jobs_file_set_defaults(file, defaults);
    expect(file, 1, "line-000001", "a red fox, in the \"snow\"");
    expect(file, 4, "line-000004", "{\"a\": b}");
    assert_true(dr_jobs_file_next(file, &e));
    assert_int_equal(e.rc, DR_OK);
    assert_string_equal(e.job->prompt, "l\xc3\xa4rche");
    assert_string_equal(e.job->model, "tiny");
    assert_int_equal(e.job->steps, 20);
    assert_int_equal(e.job->seed, 7);
    dr_job_free(e.job);
    assert_false(dr_jobs_file_next(file, &e));
    dr_jobs_file_close(file);
    dr_job_free(defaults);
}

static void a_bad_prompt_stops_nothing(void **state)
{
    const size_t size = DR_JOB_LINE_BYTES_MAX + 100;
    char *text = malloc(size);
    dr_job *defaults = defaults_of("model=tiny");
    dr_jobs_file *file;
    dr_error err;
    (void)state;

    memset(text, 'a', size);
    text[DR_JOB_LINE_BYTES_MAX + 10] = '\n';
    memcpy(text + DR_JOB_LINE_BYTES_MAX + 20, "\nhalf \xc3\nfox\n", 13);
    assert_int_equal(open_text(&file, ".txt", text, (size_t)DR_JOB_LINE_BYTES_MAX + 33, &err), DR_OK);
    dr_jobs_file_set_defaults(file, defaults);
    expect_bad(file, 1, DR_EFORMAT, "line-000001", "1048586 bytes");
    expect(file, 2, "line-000002", "aaaaaaaaa");
    expect_bad(file, 3, DR_EINVAL, "line-000003", "prompt");
    expect(file, 4, "line-000004", "fox");
    dr_jobs_file_close(file);
    assert_int_equal(open_text(&file, ".txt", "fox", 3, &err), DR_OK);
    expect_bad(file, 1, DR_EINVAL, "line-000001", "model"); /* nobody has said which */
    dr_jobs_file_close(file);
    dr_job_free(defaults);
    free(text);
}

static void expect_steps(dr_jobs_file *file, const char *model, int steps, uint64_t seed)
{
    dr_jobs_entry e;

    assert_true(dr_jobs_file_next(file, &e));
    if (e.rc)
        fail_msg("%s", e.err.text);
    assert_string_equal(e.job->model, model);
    assert_int_equal(e.job->steps, steps);
    assert_int_equal(e.job->seed, seed);
    dr_job_free(e.job);
}

static void defaults_are_for_what_a_job_does_not_say(void **state)
{
    static const char lines[] =
        "{\"model\":\"sd15\",\"steps\":9}\n{\"seed\":1}\n{\"steps\":null}\n{\"steps\":50}\n";
    static const char rows[] = "model,steps,seed\nsd15,9,\n,,1\n";
    dr_job *defaults = defaults_of("model=tiny steps=20 seed=7");
    dr_jobs_file *file;
    dr_error err;
    (void)state;

    assert_int_equal(open_text(&file, ".jsonl", lines, sizeof(lines) - 1, &err), DR_OK);
    dr_jobs_file_set_defaults(file, defaults);
    expect_steps(file, "sd15", 9, 7);
    expect_steps(file, "tiny", 20, 1);
    expect_steps(file, "tiny", 20, 7);
    expect_steps(file, "tiny", 50, 7); /* what it says is what the field would be anyway */
    dr_jobs_file_close(file);
    file = csv(rows);
    dr_jobs_file_set_defaults(file, defaults);
    expect_steps(file, "sd15", 9, 7);
    expect_steps(file, "tiny", 20, 1);
    dr_jobs_file_close(file);
    dr_job_free(defaults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines),
        cmocka_unit_test(csv_rows),
        cmocka_unit_test(bad_csv_rows),
        cmocka_unit_test(a_header_names_fields),
        cmocka_unit_test(carriage_returns_end_rows),
        cmocka_unit_test(a_quote_opens_only_at_the_start),
        cmocka_unit_test(a_short_row_fails_alone),
        cmocka_unit_test(layouts_of_others_are_read),
        cmocka_unit_test(numbers_of_others_are_read),
        cmocka_unit_test(what_has_no_name_may_say_nothing),
        cmocka_unit_test(utf16_is_read),
        cmocka_unit_test(other_encodings_are_told),
        cmocka_unit_test(marks_and_carriage_returns_in_json_lines),
        cmocka_unit_test(marks_between_rows_are_skipped),
        cmocka_unit_test(a_long_line_behind_a_mark_is_read_or_refused),
        cmocka_unit_test(a_long_line_fails_alone),
        cmocka_unit_test(a_pipe_is_read_once),
        cmocka_unit_test(a_failed_read_is_an_error),
        cmocka_unit_test(an_endless_quote_is_one_bad_row),
        cmocka_unit_test(nuls_are_seen),
        cmocka_unit_test(a_line_of_a_text_file_is_a_prompt),
        cmocka_unit_test(a_bad_prompt_stops_nothing),
        cmocka_unit_test(defaults_are_for_what_a_job_does_not_say),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("jobs_file", tests, NULL, NULL);
}
