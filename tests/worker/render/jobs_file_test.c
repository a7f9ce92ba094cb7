/* Files of jobs: what each line of JSON Lines and each prompt gives, and that a bad one stops nothing. */
#include "tests/worker/render/jobs_file_fixture.h"

#include "worker/jobs/job_fields.h"
#include "worker/support/text_file.h"

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

/* A file that can't be read further has not ended.  /proc/self/mem can be opened, and can't be read at 0. */
static void a_failed_read_is_an_error(void **state)
{
    dr_text_file *file;
    dr_error err;
    (void)state;
    assert_int_equal(dr_text_file_open(&file, "/proc/self/mem", &err), DR_EIO);
    assert_null(file);
    assert_non_null(strstr(err.text, "/proc/self/mem"));
}

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
        cmocka_unit_test(a_long_line_fails_alone),
        cmocka_unit_test(a_pipe_is_read_once),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_failed_read_is_an_error),
        cmocka_unit_test(a_line_of_a_text_file_is_a_prompt),
        cmocka_unit_test(a_bad_prompt_stops_nothing),
        cmocka_unit_test(defaults_are_for_what_a_job_does_not_say),
    };
    return cmocka_run_group_tests_name("jobs_file", tests, begin, end);
}
