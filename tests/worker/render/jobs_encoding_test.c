/* Files of jobs in the encodings that programs write: UTF-8 with a mark, UTF-16, and what is neither. */
#include "tests/worker/render/jobs_file_fixture.h"

#include "worker/jobs/job_fields.h"
#include "worker/support/text_file.h"

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
    expect_bad(file, 2, DR_EINVAL, "a", "prompt: 4 bytes that are not UTF-8");
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

/* `cat a.csv b.csv` makes such files: a byte-order mark in the middle, and a quote after it. */
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

/* Lines just below, at and above the limit.  A byte-order mark is not counted. */
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

static void nuls_are_seen(void **state)
{
    static const char text[] = "model,prompt\nm,a\0b\nm,c\n";
    dr_jobs_file *file;
    (void)state;

    assert_int_equal(open_text(&file, ".csv", text, sizeof(text) - 1, NULL), DR_OK);
    expect_bad(file, 2, DR_EFORMAT, "line-000002", "NUL");
    expect(file, 3, "line-000003", "c");
    expect_end(file);

    /* A NUL near the beginning does not make the file UTF-16: all its lines would be one. */
    assert_int_equal(open_text(&file, ".txt", "a\0b\nc\n", 6, NULL), DR_OK);
    assert_int_equal(dr_jobs_file_count(file), 2);
    expect_bad(file, 1, DR_EINVAL, "line-000001", "prompt");
    dr_jobs_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf16_is_read),
        cmocka_unit_test(other_encodings_are_told),
        cmocka_unit_test(marks_and_carriage_returns_in_json_lines),
        cmocka_unit_test(marks_between_rows_are_skipped),
        cmocka_unit_test(a_long_line_behind_a_mark_is_read_or_refused),
        cmocka_unit_test(nuls_are_seen),
    };
    return cmocka_run_group_tests_name("jobs_encoding", tests, begin, end);
}
