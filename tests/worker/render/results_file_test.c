/* The results of a folder: which line counts, what half a write leaves, and that every failure has a
 * reason. */
#include "worker/render/results_file.h"
#include "worker/support/files.h"

#include "tests/support/temp_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static temp_folder folder;

static int begin(void **state)
{
    (void)state;
    temp_open(&folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_close(&folder);
    return 0;
}

static dr_results_file *open_results(void)
{
    dr_results_file *file;
    dr_error err;
    if (dr_results_open(&file, folder.path, &err))
        fail_msg("%s", err.text);
    return file;
}

static void append(dr_results_file *file, const char *id, const char *state)
{
    char line[128];
    snprintf(line, sizeof(line), "{\"id\":\"%s\",\"state\":\"%s\"}", id, state);
    assert_int_equal(dr_results_append(file, id, true, line, NULL), DR_OK);
}

static void assert_results(const char *expected)
{
    void *bytes;
    size_t size;
    assert_int_equal(dr_file_read(temp_path(&folder, "results.jsonl"), 1 << 20, &bytes, &size, NULL), DR_OK);
    assert_string_equal(bytes, expected);
    free(bytes);
}

static void the_last_line_counts(void **state)
{
    dr_results_file *file = open_results();
    json_t *json;
    (void)state;

    append(file, "a", "failed");
    append(file, "b", "failed");
    append(file, "a", "succeeded");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(dr_results_count(file), 2);
        assert_true(dr_results_has(file, "a") && !dr_results_has(file, "c"));
        assert_null(dr_results_get(file, "c"));
        json = dr_results_get(file, "a");
        assert_string_equal(json_string_value(json_object_get(json, "state")), "succeeded");
        json_decref(json);
        dr_results_close(file);
        file = open_results();
    }
    assert_int_equal(dr_results_compact(file, NULL), DR_OK);
    dr_results_close(file);
    assert_results("{\"id\":\"b\",\"state\":\"failed\"}\n{\"id\":\"a\",\"state\":\"succeeded\"}\n");
    file = open_results();
    assert_int_equal(dr_results_count(file), 2);
    dr_results_close(file);
}

static void half_a_line_is_cut_off(void **state)
{
    static const char *const rests[] = { "{", "{\"id\"", "{\"id\":\"b\",\"state\":\"succ" };
    (void)state;

    for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "{\"id\":\"a\",\"state\":\"failed\"}\n%s", rests[i]);
        temp_write(&folder, "results.jsonl", text, strlen(text));
        dr_results_file *file = open_results();
        append(file, "c", "failed");
        dr_results_close(file);
        assert_results("{\"id\":\"a\",\"state\":\"failed\"}\n{\"id\":\"c\",\"state\":\"failed\"}\n");
    }
}

static void looking_changes_nothing(void **state)
{
    static const char text[] = "{\"id\":\"a\",\"state\":\"failed\"}\n{\"id\":\"b";
    dr_results_file *writer, *file;
    (void)state;

    assert_int_equal(dr_results_look(&file, temp_path(&folder, "none"), NULL), DR_OK);
    assert_int_equal(dr_results_count(file), 0);
    assert_null(dr_results_get(file, "a"));
    dr_results_close(file);
    assert_int_equal(access(temp_path(&folder, "none"), F_OK), -1);
    temp_write(&folder, "results.jsonl", text, strlen(text));
    assert_int_equal(dr_results_look(&file, folder.path, NULL), DR_OK);
    assert_true(dr_results_has(file, "a"));
    assert_results(text);
    writer = open_results(); /* nobody is in its way */
    dr_results_close(file);
    assert_int_equal(dr_results_look(&file, folder.path, NULL), DR_OK); /* nor in that of who looks */
    dr_results_close(file);
    dr_results_close(writer);
}

static void many_lines_are_read_in_blocks(void **state)
{
    dr_results_file *file;
    FILE *to;
    (void)state;

    to = fopen(temp_path(&folder, "results.jsonl"), "w");
    for (int i = 0; i < 30000; i++)
        fprintf(to, "{\"id\":\"job-%d\",\"state\":\"succeeded\",\"pad\":\"%0200d\"}\n", i % 20000, i);
    fclose(to);
    file = open_results();
    assert_int_equal(dr_results_count(file), 20000);
    json_t *json = dr_results_get(file, "job-9999");
    assert_string_equal(json_string_value(json_object_get(json, "pad")) + 195, "29999");
    json_decref(json);
    assert_int_equal(dr_results_compact(file, NULL), DR_OK);
    dr_results_close(file);
    file = open_results();
    assert_int_equal(dr_results_count(file), 20000);
    dr_results_close(file);
}

static void a_line_without_end_is_foreign(void **state)
{
    const size_t size = 5 << 20;
    char *text = malloc(size);
    dr_results_file *file;
    dr_error err;
    (void)state;

    memset(text, 'x', size);
    memcpy(text, "{\"id\":\"", 7);
    temp_write(&folder, "results.jsonl", text, size);
    assert_int_equal(dr_results_open(&file, folder.path, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "results.jsonl:1: not a line"));
    free(text);
}

/* A limit for the size of files acts like a full disk: the system takes a part of the line, then nothing. */
static void a_full_disk_leaves_whole_lines(void **state)
{
    dr_results_file *file = open_results();
    dr_error err = { .text = "" };
    struct rlimit before, small = { 60, 60 };
    (void)state;

    append(file, "a", "failed");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    const dr_status rc =
        dr_results_append(file, "b", true,
                          "{\"id\":\"b\",\"state\":\"0123456789012345678901234567890123456789\"}", &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, DR_EIO);
    assert_null(strstr(err.text, "Success"));
    assert_non_null(strstr(err.text, "File too large"));
    assert_false(dr_results_has(file, "b"));
    append(file, "c", "failed");
    dr_results_close(file);
    assert_results("{\"id\":\"a\",\"state\":\"failed\"}\n{\"id\":\"c\",\"state\":\"failed\"}\n");
}

static void no_reason_is_not_success(void **state)
{
    dr_error err;
    (void)state;
    errno = 0;
    dr_fail_errno(&err, DR_EIO, "a file");
    assert_null(strstr(err.text, "Success"));
    assert_string_equal(err.text, "a file: failed, without a reason");
}

static void only_regular_files_are_opened(void **state)
{
    dr_error err;
    void *bytes;
    size_t size;
    int fd;
    (void)state;

    assert_int_equal(mkfifo(temp_path(&folder, "pipe"), 0666), 0);
    assert_int_equal(dr_file_read(folder.file, 100, &bytes, &size, &err), DR_EIO); /* and does not wait */
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(dr_file_read(folder.path, 100, &bytes, &size, &err), DR_EIO);
    assert_int_equal(dr_file_open(&fd, "/dev/null", O_RDWR, &err), DR_EIO);
    assert_int_equal(fd, -1);
    assert_int_equal(symlink("/etc/hostname", temp_path(&folder, "link")), 0);
    assert_int_equal(dr_file_read(folder.file, 1 << 20, &bytes, &size, &err), DR_EIO);
    assert_non_null(strstr(err.text, "symbolic link"));
    assert_int_equal(dr_file_read(temp_path(&folder, "none"), 100, &bytes, &size, &err), DR_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_line_counts, begin, end),
        cmocka_unit_test_setup_teardown(half_a_line_is_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(looking_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(many_lines_are_read_in_blocks, begin, end),
        cmocka_unit_test_setup_teardown(a_line_without_end_is_foreign, begin, end),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_whole_lines, begin, end),
        cmocka_unit_test(no_reason_is_not_success),
        cmocka_unit_test_setup_teardown(only_regular_files_are_opened, begin, end),
    };
    return cmocka_run_group_tests_name("results_file", tests, NULL, NULL);
}
