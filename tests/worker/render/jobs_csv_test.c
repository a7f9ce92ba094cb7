/* Files of jobs as CSV: what each row gives, and that a bad one stops nothing. */
#include "tests/worker/render/jobs_file_fixture.h"

#include "worker/jobs/job_fields.h"
#include "worker/support/text_file.h"

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
    expect_bad(file, 4, DR_EINVAL, "c", "model: missing");
    expect_bad(file, 5, DR_EINVAL, "d", "seed: -1;");
    expect_bad(file, 6, DR_EFORMAT, "line-000006", "cell 5 has no name");
    expect_bad(file, 7, DR_EINVAL, "f", "steps: \"x\"y\"\"");
    expect_bad(file, 8, DR_EFORMAT, "line-000008", "cell 3: text after the quote");
    expect_bad(file, 9, DR_EINVAL, "line-000009", "id: \"g/h\"");
    expect(file, 10, "ok", "");
    expect_bad(file, 11, DR_EFORMAT, "line-000011", "cell 2: it begins with a quote, and no quote ends it");
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
        { "id,\"model\n", "cell 2: it begins with a quote" },
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
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, jobs_folder.file))
            fail_msg("%s", err.text);
    }
}

/* From here on: cases of shared lists of what spreadsheets and programs write. */

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
    expect_bad(file, 7, DR_EFORMAT, "line-000007", "lines 7 to 9: cell 3: it begins with a quote");
    expect_end(file);
}

static void a_short_row_fails_alone(void **state)
{
    dr_jobs_file *file = csv("id,model,prompt\na,m,x\nb,m\nc\nd,m,y\n");
    (void)state;

    expect(file, 2, "a", "x");
    expect_bad(file, 3, DR_EFORMAT, "line-000003", "2 cells; the first row has 3 names");
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

    expect_bad(file, 2, DR_EFORMAT, "line-000002", "cell 3 has no name");
    expect_bad(file, 3, DR_EFORMAT, "line-000003", "cell 4 has no name");
    expect(file, 4, "c", "");
    expect_end(file);
    strcpy(wide, "id,model\na,m");
    memset(wide + strlen(wide), ',', 100);
    strcat(wide, "x\nb,m");
    memset(wide + strlen(wide), ',', 200);
    file = csv(wide);
    expect_bad(file, 2, DR_EFORMAT, "line-000002", "cell 102 has no name");
    expect(file, 3, "b", "");
    expect_end(file);
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
    assert_non_null(
        strstr(e.err.text, "lines 2 to 31459: cell 2: it begins with a quote, and no quote ends it"));
    dr_job_free(e.job);
    dr_jobs_file_close(file);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_rows),
        cmocka_unit_test(bad_csv_rows),
        cmocka_unit_test(a_header_names_fields),
        cmocka_unit_test(carriage_returns_end_rows),
        cmocka_unit_test(a_quote_opens_only_at_the_start),
        cmocka_unit_test(a_short_row_fails_alone),
        cmocka_unit_test(layouts_of_others_are_read),
        cmocka_unit_test(numbers_of_others_are_read),
        cmocka_unit_test(what_has_no_name_may_say_nothing),
        cmocka_unit_test(an_endless_quote_is_one_bad_row),
    };
    return cmocka_run_group_tests_name("jobs_csv", tests, begin, end);
}
