/* Lines of the log are lines, whatever is in them; and a bar says how far it is. */
#include "base/limits.h"
#include "worker/render/progress.h"
#include "worker/support/log.h"
#include "worker/support/text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void json_lines_can_be_read(void **state)
{
    static const char *const messages[] = { "plain",           "a \"quoted\" \\ one",
                                            "two\nlines\ttab", "caf\xc3\xa9",
                                            "\xff\xfe",        "" };
    char line[4096], long_message[2000];
    (void)state;

    memset(long_message, '"', sizeof(long_message));
    long_message[sizeof(long_message) - 1] = 0;
    for (size_t i = 0; i <= sizeof(messages) / sizeof(messages[0]); i++) {
        const char *message = i < sizeof(messages) / sizeof(messages[0]) ? messages[i] : long_message;
        const size_t size =
            dr_log_format(line, sizeof(line), true, 1700000000123, DR_LOG_WARN, "test", NULL, message);
        assert_int_equal(size, strlen(line));
        assert_int_equal(line[size - 1], '\n');
        assert_null(memchr(line, '\n', size - 1));
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "time")), "2023-11-14T22:13:20.123Z");
        assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
        if (i < 2)
            assert_string_equal(json_string_value(json_object_get(json, "message")), message);
        json_decref(json);
    }
    /* A buffer that is too small gives a shorter line, still whole. */
    const size_t size = dr_log_format(line, 640, true, 0, DR_LOG_INFO, "test", NULL, long_message);
    assert_true(size < 640 && line[size - 2] == '}');
}

static void text_lines_are_one_line(void **state)
{
    char line[1024];
    (void)state;
    const size_t size =
        dr_log_format(line, sizeof(line), false, 0, DR_LOG_ERROR, "test", NULL, "two\nlines\x1b[31m");
    assert_null(memchr(line, '\n', size - 1));
    assert_null(memchr(line, '\x1b', size)); /* nor can a job colour the terminal */
    assert_non_null(strstr(line, "error test: two lines"));
    dr_log_format(line, sizeof(line), false, 0, DR_LOG_ERROR, "test", NULL,
                  "a\xc2\x9b"
                  "31mb\xe2\x80\xaegpj\xe2\x81\xa6 \xd8\x9c\xe2\x80\x8f\xe2\x80\xa8"
                  "c \xc2\xa0\xd7\x90");
    assert_non_null(
        strstr(line, "test: a 31mb gpj     c \xc2\xa0\xd7\x90\n")); /* C1 and the writing direction */
}

/* Whatever a job's id is, and however little room there is. */
static void a_line_about_a_job_has_fields(void **state)
{
    char id[DR_NAME_BYTES_MAX * 2], line[4096], message[1000];
    const dr_log_about about = { .job = id, .partition = 3, .offset = 1234567890123, .code = "not_found" };
    const dr_log_about nobody = { .partition = 0, .offset = 0, .code = "malformed" };
    (void)state;

    memset(message, 'm', sizeof(message));
    message[sizeof(message) - 1] = 0;
    for (int i = 0; i < 3; i++) {
        static const char *const ids[] = { "fox", "a \"b\" \\ \n\xff", "" };
        memset(id, '"', sizeof(id));
        id[sizeof(id) - 1] = 0;
        if (i < 2)
            strcpy(id, ids[i]);
        for (size_t room = 640; room <= sizeof(line); room += 64) {
            const size_t size =
                dr_log_format(line, room, true, 0, DR_LOG_WARN, "test", &about, i ? message : "why");
            json_t *json = json_loads(line, 0, NULL);
            assert_non_null(json);
            assert_true(size == strlen(line) && size < room && line[size - 1] == '\n');
            assert_int_equal(json_integer_value(json_object_get(json, "partition")), 3);
            assert_true(json_integer_value(json_object_get(json, "offset")) == 1234567890123);
            assert_string_equal(json_string_value(json_object_get(json, "code")), "not_found");
            if (i == 0) {
                assert_string_equal(json_string_value(json_object_get(json, "job")), "fox");
                assert_string_equal(json_string_value(json_object_get(json, "message")), "why");
            }
            json_decref(json);
            const size_t text_size =
                dr_log_format(line, room, false, 0, DR_LOG_WARN, "test", &about, i ? message : "why");
            assert_int_equal(text_size, strlen(line));
        }
    }
    strcpy(id, "fox");
    dr_log_format(line, sizeof(line), false, 0, DR_LOG_WARN, "test", &about, "why");
    assert_non_null(strstr(line, "warn  test: why (job fox, partition 3 offset 1234567890123, not_found)\n"));
    dr_log_format(line, sizeof(line), true, 0, DR_LOG_WARN, "test", &nobody, "why");
    assert_null(strstr(line, "\"job\""));
}

static void levels_are_kept(void **state)
{
    (void)state;
    dr_log_set(DR_LOG_WARN, DR_LOG_TEXT);
    assert_true(dr_log_enabled(DR_LOG_ERROR) && dr_log_enabled(DR_LOG_WARN));
    assert_false(dr_log_enabled(DR_LOG_INFO));
}

static void texts_are_cut_between_characters(void **state)
{
    char to[8];
    (void)state;
    dr_text_copy(to, sizeof(to), "aaaaaa\xc3\xa9", 8);
    assert_string_equal(to, "aaaaaa");
    dr_text_copy(to, sizeof(to), "aaaaa\xc3\xa9", 7);
    assert_string_equal(to, "aaaaa\xc3\xa9");
    dr_text_copy(to, 1, "a", 1);
    assert_string_equal(to, "");
}

static void progress_is_told(void **state)
{
    const dr_progress_state begun = { .total = 10 };
    const dr_progress_state half = {
        .done = 40, .failed = 10, .skipped = 50, .total = 200, .pictures = 80, .seconds = 40
    };
    const dr_progress_state pipe = { .done = 3, .pictures = 3, .seconds = 2 };
    const dr_progress_state days = { .done = 1, .total = 5001, .pictures = 1, .seconds = 2 };
    const dr_progress_state over = {
        .done = 7, .total = 5, .pictures = 7, .seconds = 1
    }; /* the file has grown */
    /* A batch of 5 is half done. */
    const dr_progress_state slow = {
        .done = 10, .total = 40, .pictures = 10, .seconds = 980, .step = 15, .steps = 30, .under_way = 2.5
    };
    const dr_progress_state first = { .total = 1, .seconds = 10, .step = 5, .steps = 25, .under_way = 0.2 };
    char text[160];
    (void)state;

    dr_progress_text(text, sizeof(text), true, &begun);
    assert_string_equal(text, "[>                       ] 0/10");
    dr_progress_text(text, sizeof(text), true, &half);
    assert_string_equal(text, "[============>           ] 100/200, 2.0 pictures/s, 1:20 left, 10 failed");
    dr_progress_text(text, sizeof(text), true, &pipe);
    assert_string_equal(text, "3, 1.5 pictures/s");
    dr_progress_text(text, sizeof(text), false, &days);
    assert_string_equal(text, "1/5001, 0.5 pictures/s, 2:46:40 left");
    dr_progress_text(text, sizeof(text), true, &over);
    assert_string_equal(text, "[========================] 7/5, 7.0 pictures/s");
    dr_progress_text(text, sizeof(text), true, &slow);
    assert_string_equal(text, "[=======>                ] 10/40, step 15/30, 98 s/picture, 35:56 left");
    dr_progress_text(text, sizeof(text), true, &first);
    assert_string_equal(text, "[====>                   ] 0/1, step 5/25, 0:40 left");
    dr_progress_text(text, 10, true, &half);
    assert_int_equal(strlen(text), 9);
}

static void a_rate_is_told_as_it_is_best_read(void **state)
{
    static const struct {
        long pictures;
        double seconds;
        const char *text;
    } cases[] = { { 34, 10, "3.4 pictures/s" }, { 1, 2, "0.5 pictures/s" },   { 1, 2.1, "2.1 s/picture" },
                  { 2, 196, "98 s/picture" },   { 1, 9.94, "9.9 s/picture" }, { 0, 10, "0.0 pictures/s" },
                  { 0, 0, "0.0 pictures/s" } };
    char text[48];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_progress_rate(text, sizeof(text), cases[i].pictures, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_can_be_read),
        cmocka_unit_test(text_lines_are_one_line),
        cmocka_unit_test(levels_are_kept),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(progress_is_told),
        cmocka_unit_test(a_rate_is_told_as_it_is_best_read),
        cmocka_unit_test(a_line_about_a_job_has_fields),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
