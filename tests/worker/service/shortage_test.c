/* A process that is short of something for a moment fails nothing for good.  Here it is short of file
 * descriptors; torture_test tests memory. */
#include "worker/engine/engine.h"
#include "worker/engine/model_folders.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/files.h"
#include "worker/support/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const char MODELS[] = "tests/goldens/models";
static const char LINE[] = "{\"id\":\"a\",\"model\":\"sd1\",\"width\":64,\"height\":64,\"steps\":1}";

static struct rlimit before;

/* From here on `more` files can be opened; no other thread opens any. */
static void allow_files(int more)
{
    const int next = open("/dev/null", O_RDONLY);
    struct rlimit limit = before;

    assert_true(next >= 0);
    close(next);
    limit.rlim_cur = (rlim_t)(next + more);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void allow_all_files(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static dr_job *job(void)
{
    dr_job *out;

    assert_int_equal(dr_job_parse(&out, &(dr_job_line){ .text = LINE, .size = strlen(LINE) }, NULL, NULL),
                     DR_OK);
    return out;
}

static void assert_short(dr_status rc, const dr_error *err)
{
    if (rc != DR_ENOMEM || err->status != DR_ENOMEM || !err->retriable)
        fail_msg("%s: %s", dr_status_name(err->status), err->text);
}

/* Any one of the model's files can't be opened. */
static void a_model_that_lacks_a_descriptor_is_tried_again(void **state)
{
    const dr_engine_options options = {
        .device = { .name = "cpu" }, .models_dir = MODELS, .batch_max = 1, .models_max = 1
    };
    int failed = 0;
    dr_status rc;
    (void)state;

    do {
        dr_refusal refusal = { .field = "" };
        dr_job *j = job();
        dr_engine *e;
        dr_error err;
        assert_int_equal(dr_engine_open(&e, &options, NULL), DR_OK);
        allow_files(failed);
        rc = dr_engine_prepare(e, j, &refusal, &err);
        allow_all_files();
        if (rc) {
            assert_short(rc, &err);
            assert_int_equal(dr_engine_prepare(e, j, &refusal, NULL), DR_OK); /* it was a moment's */
            failed++;
        }
        dr_engine_close(e);
        dr_job_free(j);
    } while (rc && failed < 64);
    assert_int_equal(rc, DR_OK);
    assert_true(failed >= 1);
}

static void folders_and_files_that_lack_a_descriptor_say_so(void **state)
{
    dr_engine_options options = { .device = { .name = "cpu" }, .models_dir = MODELS };
    dr_model_names names;
    void *bytes;
    size_t size;
    dr_error err;
    (void)state;

    allow_files(0);
    assert_short(dr_model_names_read(&names, MODELS, &err), &err);
    assert_short(dr_engine_models(&options, &err), &err);
    assert_short(dr_file_read("README.md", 1 << 20, &bytes, &size, &err), &err);
    allow_all_files();
}

typedef struct outcome {
    pthread_mutex_t lock;
    dr_result *result;
} outcome;

static void keep_result(void *arg, dr_result *result)
{
    outcome *o = arg;

    pthread_mutex_lock(&o->lock);
    assert_null(o->result);
    o->result = result;
    pthread_mutex_unlock(&o->lock);
}

static void a_job_waits_for_descriptors(void **state)
{
    outcome o = { .lock = PTHREAD_MUTEX_INITIALIZER };
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "cpu" }, .models_dir = MODELS, .batch_max = 1, .models_max = 1 },
        .finish_threads = 1,
        .jobs_max = 1,
        .on_result = keep_result,
        .arg = &o,
    };
    dr_pipeline *p;
    (void)state;

    assert_int_equal(dr_pipeline_start(&p, &options, NULL), DR_OK);
    allow_files(0);
    assert_true(dr_pipeline_submit(p, job()));
    for (int ms = 0; ms < 30000 && dr_pipeline_aside(p) == 0; ms++)
        usleep(1000);
    assert_int_equal(dr_pipeline_aside(p), 1);
    assert_int_equal(dr_pipeline_in_flight(p), 1); /* whoever drains waits for it */
    allow_all_files();
    assert_true(dr_pipeline_drain(p, 60000));
    if (o.result->error.status)
        fail_msg("%s", o.result->error.text);
    assert_int_equal(o.result->pictures, 1);
    dr_result_free(o.result);
    dr_pipeline_stop(p);
}

/* Only this place tells a kind of failure by errno. */
static void errno_tells_a_shortage(void **state)
{
    static const struct {
        int code;
        dr_status status;
    } cases[] = { { ENOMEM, DR_ENOMEM }, { EMFILE, DR_ENOMEM },  { ENFILE, DR_ENOMEM },
                  { EAGAIN, DR_ENOMEM }, { ENOENT, DR_EFORMAT }, { EACCES, DR_EFORMAT },
                  { EIO, DR_EFORMAT } };
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        errno = cases[i].code;
        assert_int_equal(dr_fail_errno(&err, DR_EFORMAT, "it"), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        assert_int_equal(err.retriable, cases[i].status == DR_ENOMEM);
        errno = cases[i].code;
        assert_int_equal(dr_fail_errno(NULL, DR_EFORMAT, "it"), cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errno_tells_a_shortage),
        cmocka_unit_test(a_model_that_lacks_a_descriptor_is_tried_again),
        cmocka_unit_test(folders_and_files_that_lack_a_descriptor_say_so),
        cmocka_unit_test(a_job_waits_for_descriptors),
    };
    dr_error err;
    int failed;

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    getrlimit(RLIMIT_NOFILE, &before);
    if (dr_pictures_start(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    failed = cmocka_run_group_tests_name("shortage", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
