/* Torture of the worker: each allocation of our own code fails in turn, and of jansson's for us; alone, and every seventh
 * time with all that follow.
 *
 * What fails says that memory lacks and may be tried again, nothing is lost, freed twice or half done: a job is never
 * answered for good because memory lacked, and what is written is whole or not at all. */
#include "tests/support/allocations.h"
#include "tests/support/temp_folder.h"
#include "tests/worker/transactions.h"
#include "worker/delivery/consumer.h"
#include "worker/delivery/control.h"
#include "worker/delivery/events.h"
#include "worker/delivery/ledger.h"
#include "worker/delivery/parcel.h"
#include "worker/delivery/publisher.h"
#include "worker/jobs/job_fields.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline.h"
#include "worker/program/commands.h"
#include "worker/render/jobs_file.h"
#include "worker/service/service.h"
#include "worker/support/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/wait.h>

enum { SIDE = 64, NOTHING_FAILED = 100 /* as a process's exit code */ };

static const char line[] =
    "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a red fox, "
    "\\u00e9\",\"negative_prompt\":\"blurry\",\"width\":64,"
    "\"height\":64,\"steps\":4,\"guidance_scale\":7.25,\"sampler\":\"euler\",\"seed\":18446744073709551615,"
    "\"images\":2,\"correlation_id\":\"c-1\",\"reply_topic\":\"replies\",\"priority\":3}";

static dr_job *job_of(const char *text)
{
    dr_job *job;
    dr_error err;

    if (dr_job_parse(&job, &(dr_job_line){ .text = text, .size = strlen(text) }, NULL, &err))
        fail_msg("%s", err.text);
    return job;
}

/* As `line` has it, whole. */
static void assert_fox(const dr_job *job)
{
    assert_true(job->complete);
    assert_string_equal(job->id, "fox");
    assert_string_equal(job->model, "m");
    assert_string_equal(job->prompt, "a red fox, \u00e9");
    assert_string_equal(job->negative_prompt, "blurry");
    assert_string_equal(job->correlation_id, "c-1");
    assert_string_equal(job->reply_topic, "replies");
    assert_int_equal(job->images, 2);
    assert_int_equal(job->sampler, DR_SAMPLER_EULER);
    assert_true(job->seed == UINT64_MAX && job->guidance_scale == 7.25f);
}

static dr_result *fox_result(void)
{
    dr_result *result = dr_result_create(job_of(line));

    result->pictures = 2;
    for (int i = 0; i < 2; i++) {
        result->picture[i] =
            (dr_picture){ .bytes = strdup("bytes"), .size = 5, .width = SIDE, .height = SIDE };
        memset(result->picture[i].sha256, 'a' + i, 64);
    }
    result->batch_samples = 4;
    strcpy(result->model_fingerprint, "f00d");
    strcpy(result->arithmetic, "cpu generic");
    return result;
}

/* --- jobs ------------------------------------------------------------------------------------ */

typedef struct message {
    void *bytes;
    size_t size;
} message;

static dr_status decode_job(void *context, dr_error *err)
{
    const message *m = context;
    dr_refusal refusal;
    dr_job *job;
    const dr_status rc = dr_job_decode(&job, m->bytes, m->size, &refusal, err);

    assert_int_equal(job == NULL, rc != DR_OK);
    if (job)
        assert_fox(job);
    dr_job_free(job);
    return rc;
}

static dr_status parse_job(void *context, dr_error *err)
{
    dr_refusal refusal;
    dr_job *job;
    const dr_status rc =
        dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, &refusal, err);
    (void)context;

    assert_int_equal(job == NULL, rc != DR_OK);
    if (job)
        assert_fox(job);
    dr_job_free(job);
    return rc;
}

static dr_status encode_job(void *context, dr_error *err)
{
    message m;
    const dr_status rc = dr_job_encode(context, &m.bytes, &m.size, err);

    if (!rc)
        free(m.bytes);
    return rc;
}

static void jobs_survive_any_allocation(void **state)
{
    dr_job *job = job_of(line);
    message m;
    (void)state;

    assert_true(torture(encode_job, job) >= 1);
    assert_int_equal(dr_job_encode(job, &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_job, &m) >= 8); /* the job, its texts, the message */
    assert_true(torture(parse_job, NULL) > 30);
    free(m.bytes);
    dr_job_free(job);
}

static const char json_lines[] =
    "{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"one\"}\n"
    "{\"id\":\"b\",\"model\":\"m\",\"steps\":0}\n"
    "not a job\n"
    "{\"id\":\"d\",\"model\":\"m\",\"prompt\":\"four\"}\n";
static const char rows[] =
    "id,model,prompt,steps\n"
    "a,m,\"one\n\n\n of several lines, and long enough to need more room than the first"
    " had, which takes some more words until it does, as getline begins with 120\",20\n"
    "b,m,two,0\n"
    "c,m,\"three,3\"x\n"
    "d,m,four,5\n";

/* What the four are without a failure. */
static const dr_status answers[] = { DR_OK, DR_EINVAL, DR_EFORMAT, DR_OK };

static dr_status read_jobs(void *context, dr_error *err)
{
    dr_jobs_file *file;
    dr_jobs_entry e;
    dr_status rc = dr_jobs_file_open(&file, context, "line-", err), lacked = DR_OK;
    int n = 0;

    assert_int_equal(file == NULL, rc != DR_OK);
    if (rc)
        return rc;
    for (; dr_jobs_file_next(file, &e); n++) {
        assert_true(n < 4);
        if (e.rc == DR_ENOMEM) {
            lacked = e.rc;
            *err = e.err;
        } else if (e.rc != answers[n]) {
            fail_msg("entry %d: %s", n, e.err.text);
        } else if (n == 0) {
            assert_true(strncmp(e.job->prompt, "one", 3) == 0);
            assert_true(strlen(e.job->prompt) == 3 || strstr(e.job->prompt, "begins with 120"));
        }
        dr_job_free(e.job);
    }
    rc = dr_jobs_file_status(file, err);
    if (!rc && !lacked)
        assert_int_equal(n, 4);
    dr_jobs_file_close(file);
    return rc ? rc : lacked;
}

static void files_of_jobs_survive_any_allocation(void **state)
{
    temp_folder folder;
    (void)state;

    temp_open(&folder);
    assert_true(
        torture(read_jobs, (void *)temp_write(&folder, "jobs.jsonl", json_lines, strlen(json_lines))) > 30);
    assert_true(torture(read_jobs, (void *)temp_write(&folder, "jobs.csv", rows, strlen(rows))) > 10);
    temp_close(&folder);
}

/* --- render ---------------------------------------------------------------------------------------- */

static const char *render_argv[] = { "darkroom", "render", "--jobs",     NULL,          "--out", NULL,
                                     "--device", "null",   "--no-sheet", "--log-level", "error", NULL };
enum { RENDER_ARGS = sizeof(render_argv) / sizeof(render_argv[0]) - 1 };

/* In a process of its own, for libvips ends with it.  The exit code; nothing else ends it. */
static int render(int nth, bool for_good)
{
    static const dr_command *const commands[] = { &dr_cmd_render };
    static char *const environment[] = { NULL };
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        const int nobody = open("/dev/null", O_WRONLY);
        dup2(nobody, STDERR_FILENO);
        allocations_fail(nth, for_good);
        const int code = dr_cli_run(commands, 1, RENDER_ARGS, (char **)(uintptr_t)render_argv, environment);
        _exit(code == DR_EXIT_DONE && allocations_failed() == 0 ? NOTHING_FAILED : code);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* So many of the four lines have a result, each once. */
static int lines_done(const char *folder)
{
    static const char *const ids[] = { "\"id\":\"a\",", "\"id\":\"b\",", "\"id\":\"c\",", "\"id\":\"d\"," };
    char path[512], text[65536];
    size_t size = 0;
    FILE *file;
    int n = 0;

    snprintf(path, sizeof(path), "%s/results.jsonl", folder);
    file = fopen(path, "r");
    if (file) {
        size = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[size] = 0;
    for (int i = 0; i < 4; i++)
        n += strstr(text, ids[i]) != NULL;
    assert_null(strstr(text, "line-")); /* all of these have ids */
    return n;
}

/* Either all is done, or render says that it is not; and run again, it does it. */
static void render_survives_any_allocation(void **state)
{
    static const char lines[] =
        "{\"id\":\"a\",\"model\":\"m\",\"prompt\":\"one\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"b\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"c\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n"
        "{\"id\":\"d\",\"model\":\"m\",\"steps\":1,\"width\":64,\"height\":64}\n";
    char out[256];
    temp_folder folder;
    int code = 0, n;
    (void)state;

    temp_open(&folder);
    render_argv[3] = temp_write(&folder, "jobs.jsonl", lines, strlen(lines));
    render_argv[5] = out;
    for (n = 1; code != NOTHING_FAILED; n += 1 + n / 15) {
        snprintf(out, sizeof(out), "%s/out-%d", folder.path, n);
        code = render(n, n % 7 == 0);
        if (code == DR_EXIT_DONE || code == NOTHING_FAILED)
            assert_int_equal(lines_done(out), 4);
        else
            assert_int_equal(render(0, false), NOTHING_FAILED);
        assert_int_equal(lines_done(out), 4);
    }
    assert_true(n > 100);
    temp_close(&folder);
}

/* --- results ----------------------------------------------------------------------------------- */

static dr_status encode_result(void *context, dr_error *err)
{
    message m;
    const dr_status rc = dr_result_encode(context, "worker-0", &m.bytes, &m.size, err);

    if (!rc)
        free(m.bytes);
    return rc;
}

static dr_status decode_result(void *context, dr_error *err)
{
    const message *m = context;
    dr_result *result;
    const dr_status rc = dr_result_decode(&result, m->bytes, m->size, err);

    assert_int_equal(result == NULL, rc != DR_OK);
    if (rc)
        return rc;
    assert_int_equal(result->pictures, 2);
    assert_fox(result->job);
    dr_result_free(result);
    return DR_OK;
}

static dr_status decode_failed(void *context, dr_error *err)
{
    const message *m = context;
    dr_result *result;
    const dr_status rc = dr_result_decode(&result, m->bytes, m->size, err);

    assert_int_equal(result == NULL, rc != DR_OK);
    if (rc)
        return rc;
    assert_int_equal(result->error.status, DR_EINVAL);
    assert_string_equal(result->job->prompt, "a red fox, \u00e9"); /* all that was said of it */
    assert_string_equal(result->job->reply_topic, "replies");
    dr_result_free(result);
    return DR_OK;
}

static const char *const names[] = { "fox@0.png", "fox@1.png" };

typedef struct json_attempt {
    const dr_result *result;
    const char *expected;
} json_attempt;

static dr_status result_as_json(void *context, dr_error *err)
{
    const json_attempt *a = context;
    char *text = dr_result_json(a->result, names);

    if (!text)
        return dr_fail(err, DR_ENOMEM, "no memory for a line");
    assert_string_equal(text, a->expected);
    free(text);
    return DR_OK;
}

static void results_survive_any_allocation(void **state)
{
    dr_result *result = fox_result(), *failed = dr_result_create(job_of(line));
    json_attempt whole = { result, dr_result_json(result, names) };
    json_attempt short_one = { failed, NULL };
    message m;
    (void)state;

    dr_fail(&failed->error, DR_EINVAL, "steps: 0");
    strcpy(failed->refusal.field, "steps");
    strcpy(failed->refusal.allowed, "1..150");
    short_one.expected = dr_result_json(failed, names);
    assert_true(torture(encode_result, result) >= 1);
    assert_int_equal(dr_result_encode(result, "worker-0", &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_result, &m) >= 10);
    assert_true(torture(result_as_json, &whole) > 60);
    assert_true(torture(result_as_json, &short_one) > 40);
    free(m.bytes);
    assert_int_equal(dr_result_encode(failed, "worker-0", &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_failed, &m) >= 8);
    free((char *)whole.expected);
    free((char *)short_one.expected);
    free(m.bytes);
    dr_result_free(failed);
    dr_result_free(result);
}

/* --- pictures ---------------------------------------------------------------------------------- */

typedef struct picture_attempt {
    dr_job *job;
    uint8_t rgb[SIDE * SIDE * 3];
    char sha256[65];
} picture_attempt;

static dr_status encode_picture(void *context, dr_error *err)
{
    const picture_attempt *a = context;
    dr_picture picture;
    const dr_status rc = dr_picture_encode(&picture, a->job, 0, "f00d", a->rgb, err);

    if (rc) {
        assert_null(picture.bytes);
        return rc;
    }
    assert_string_equal(picture.sha256, a->sha256); /* with all of its texts */
    free(picture.bytes);
    return DR_OK;
}

static void pictures_survive_any_allocation(void **state)
{
    static picture_attempt a;
    dr_picture picture;
    dr_error err;
    (void)state;

    a.job = job_of(line);
    for (int format = 0; format < DR_PICTURE_FORMATS; format++) {
        a.job->format = (dr_picture_format)format;
        if (dr_picture_encode(&picture, a.job, 0, "f00d", a.rgb, &err))
            fail_msg("%s", err.text);
        strcpy(a.sha256, picture.sha256);
        free(picture.bytes);
        assert_true(torture(encode_picture, &a) > 20);
    }
    dr_job_free(a.job);
}

/* --- parcels ------------------------------------------------------------------------------------ */

static dr_status pack_result(void *context, dr_error *err)
{
    dr_result *result;
    dr_parcel *parcel;
    (void)context;

    allocations.fail_at += allocations.asked; /* what follows is not to fail */
    const int fail_at = allocations.fail_at;
    allocations.fail_at = 0;
    result = fox_result();
    allocations.fail_at = fail_at + allocations.asked;
    parcel = dr_parcel_of_result(result, "worker-0", "results");
    if (!parcel) {
        assert_int_equal(result->pictures, 2); /* still the caller's, and whole */
        assert_non_null(result->picture[1].bytes);
        dr_result_free(result);
        return dr_fail(err, DR_ENOMEM, "no memory for a parcel");
    }
    assert_int_equal(parcel->result->error.status, DR_OK);
    dr_parcel_free(parcel);
    return DR_OK;
}

/* The broker has refused it for its size, as often as it takes to have nothing left to leave out. */
static dr_status make_smaller(void *context, dr_error *err)
{
    dr_parcel *parcel = *(dr_parcel **)context;
    const dr_record refused = { .error = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                .bytes = 1000,
                                .bytes_max = 900 };
    void *const bytes = parcel->bytes;
    const dr_amendment amendment = dr_parcel_amend(parcel, &refused);

    if (amendment == DR_AMENDED)
        return DR_OK;
    assert_int_equal(amendment, DR_SET_ASIDE); /* never given up for want of memory */
    assert_ptr_equal(parcel->bytes, bytes);
    return dr_fail(err, DR_ENOMEM, "no memory for a smaller one");
}

static void parcels_survive_any_allocation(void **state)
{
    dr_parcel *parcel;
    (void)state;

    assert_true(torture(pack_result, NULL) >= 2);
    parcel = dr_parcel_of_result(fox_result(), "worker-0", "results");
    for (int step = 0; step < 3; step++) { /* its pictures, its headers, all but its id */
        dr_error err;

        allocations_fail(1, true);
        const dr_status rc = make_smaller(&parcel, &err);
        allocations_fail(0, false);
        if (rc)
            assert_int_equal(make_smaller(&parcel, &err), DR_OK);
        else
            assert_int_equal(step, 1); /* needs none */
        assert_int_equal(parcel->result->error.status, DR_EIO);
        assert_int_equal(parcel->without_carried, step >= 1);
        assert_int_equal(parcel->result->brief, step == 2);
    }
    dr_parcel_free(parcel);
}

/* --- opening ------------------------------------------------------------------------------------- */

static dr_property nowhere[] = { { "bootstrap.servers", "127.0.0.1:1" }, { "client.id", "torture" } };
static const dr_kafka_options kafka = { nowhere, 2 };

static dr_status open_books(void *context, dr_error *err)
{
    dr_books *b;
    const dr_status rc = dr_books_open(&b, "jobs", "workers", err);
    (void)context;

    assert_int_equal(b == NULL, rc != DR_OK);
    dr_books_close(b);
    return rc;
}

static dr_status open_consumer(void *context, dr_error *err)
{
    const dr_consumer_options options = { kafka, "slot-0", context };
    dr_consumer *c;
    const dr_status rc = dr_consumer_open(&c, &options, err);

    assert_int_equal(c == NULL, rc != DR_OK);
    dr_consumer_close(c);
    return rc;
}

static dr_status open_publisher(void *context, dr_error *err)
{
    const dr_publisher_options options = {
        .outbox = { .kafka = kafka, .delivery = DR_EXACTLY_ONCE, .slot = "slot-0", .group = "workers" },
        .books = context,
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .worker = "slot-0",
    };
    dr_publisher *p;
    const dr_status rc = dr_publisher_start(&p, &options, err);

    assert_int_equal(p == NULL, rc != DR_OK);
    dr_publisher_stop(p);
    return rc;
}

static dr_status open_outbox(void *context, dr_error *err)
{
    const dr_outbox_options options = { kafka, DR_AT_LEAST_ONCE, "slot-0", "workers" };
    dr_outbox *o;
    const dr_status rc = dr_outbox_open(&o, &options, err);
    (void)context;

    assert_int_equal(o == NULL, rc != DR_OK);
    dr_outbox_close(o);
    return rc;
}

static dr_status open_events(void *context, dr_error *err)
{
    dr_events *e;
    const dr_status rc = dr_events_open(&e, &kafka, "events", "slot-0", NULL, err);
    (void)context;

    assert_int_equal(e == NULL, rc != DR_OK);
    dr_events_close(e);
    return rc;
}

static void no_cancel(void *arg, const char *job_id, int64_t sent_until_ms)
{
    (void)arg, (void)job_id, (void)sent_until_ms;
}

static dr_status open_control(void *context, dr_error *err)
{
    dr_control *c;
    const dr_status rc = dr_control_open(&c, &kafka, "control", no_cancel, NULL, err);
    (void)context;

    assert_int_equal(c == NULL, rc != DR_OK);
    dr_control_close(c);
    return rc;
}

static void what_speaks_to_a_broker_opens_or_says_so(void **state)
{
    dr_books *books;
    (void)state;

    assert_true(torture(open_books, NULL) >= 3);
    assert_int_equal(dr_books_open(&books, "jobs", "workers", NULL), DR_OK);
    assert_true(torture(open_consumer, books) >= 4);
    assert_true(torture(open_outbox, NULL) >= 7);
    assert_true(torture(open_events, NULL) >= 3);
    assert_true(torture(open_control, NULL) >= 2);
    assert_true(torture(open_publisher, books) >= 10);
    dr_books_close(books);
}

/* --- partitions and commits ------------------------------------------------------------------------- */

enum { PATIENCE_MS = 60000 };

/* The group has done the job at offset 2 and not the one at 1. */
static void set_group_offset(char text[DR_LEDGER_TEXT_MAX])
{
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(transactions.offsets, "jobs", 0);
    dr_ledger ledger;

    dr_ledger_reset(&ledger, 1);
    dr_ledger_admit(&ledger, 1);
    dr_ledger_admit(&ledger, 2);
    dr_ledger_settle(&ledger, 2);
    dr_ledger_text(&ledger, text);
    at->offset = ledger.next;
    at->metadata = text_copy(text, strlen(text));
    at->metadata_size = strlen(text);
}

typedef struct commit_attempt {
    dr_books *books;
    char text[DR_LEDGER_TEXT_MAX]; /* the commit's, once the job at 3 is settled as well */
} commit_attempt;

static dr_status plan_commit(void *context, dr_error *err)
{
    const commit_attempt *a = context;
    dr_commit_entry entry = { .origin = { .partition = 0, .offset = 3 } };
    const rd_kafka_topic_partition_t *at;
    dr_commit *commit;
    const dr_status rc = dr_books_plan(a->books, &entry, 1, &commit, err);

    assert_int_equal(commit == NULL, rc != DR_OK);
    if (rc) {
        assert_null(entry.headers);
        return rc;
    }
    assert_true(entry.ours && entry.headers);
    at = rd_kafka_topic_partition_list_find(commit->offsets, "jobs", 0);
    assert_true(at && at->offset == 1 &&
                at->metadata); /* never without it: the jobs at 2 and 3 would be done again */
    assert_string_equal(at->metadata, a->text);
    rd_kafka_headers_destroy(entry.headers);
    allocations_leave(at->metadata); /* the library frees it */
    dr_commit_free(commit);
    return DR_OK;
}

static dr_status reread(void *context, dr_error *err)
{
    return dr_books_reread(context, err);
}

/* Each allocation of an assignment fails once: what the group has done is not done again. */
static void partitions_and_commits_wait_for_memory(void **state)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    dr_consumer *consumer;
    rd_kafka_message_t *m[2] = { NULL };
    commit_attempt a;
    dr_ledger ledger;
    dr_error err;
    broker b;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    transactions_watch(&b, "workers");
    set_group_offset(a.text);
    rd_kafka_header_add(headers, "traceparent", -1, "00-1", -1);
    for (int i = 0; i < 4; i++)
        broker_put(&b, 0, "key", "value", 5, rd_kafka_headers_copy(headers));
    rd_kafka_headers_destroy(headers);
    assert_int_equal(dr_books_open(&a.books, "jobs", "workers", &err), DR_OK);
    assert_int_equal(dr_consumer_open(&consumer, &(dr_consumer_options){ b.options, "slot-0", a.books },
                                      &err),
                     DR_OK);
    allocations_fail_in_turn();
    for (int i = 0; i < 2; i++)
        while (!m[i] && dr_clock_ms() < until_ms)
            m[i] = dr_books_next(a.books, 1000);
    assert_true(allocations_failed() >= 6); /* two of each partition, the metadata, the lease */
    allocations_fail(0, false);
    assert_true(m[0] && m[0]->offset == 1 && m[1] && m[1]->offset == 3);

    assert_int_equal(dr_ledger_restore(&ledger, 1, a.text, &err), DR_OK);
    dr_ledger_admit(&ledger, 1);
    dr_ledger_admit(&ledger, 3);
    dr_ledger_settle(&ledger, 3);
    dr_ledger_text(&ledger, a.text);
    assert_true(torture(plan_commit, &a) >= 3);
    assert_true(torture(reread, a.books) >= 1);
    for (int i = 0; i < 2; i++)
        rd_kafka_message_destroy(m[i]);
    dr_consumer_close(consumer);
    dr_books_close(a.books);
    transactions_close();
    broker_close(&b);
}

/* --- the worker whole ------------------------------------------------------------------------------- */

static dr_service_options service_options(const broker *b)
{
    return (dr_service_options){
        .kafka = b->options,
        .group = "workers",
        .slot = "slot-0",
        .jobs_topic = "jobs",
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .events_topic = "events",
        .control_topic = "control",
        .engine = { .device = { .name = "null" }, .batch_max = 4, .models_max = 1 },
        .shortage_ms = 1,
        .finish_threads = 1,
        .jobs_max = 8,
    };
}

static dr_service *start_service(const broker *b)
{
    const dr_service_options options = service_options(b);
    dr_service *service;
    dr_error err;

    if (dr_service_start(&service, &options, &err))
        fail_msg("%s", err.text);
    return service;
}

static dr_status start_and_stop(void *context, dr_error *err)
{
    dr_service_options options = service_options(context);
    dr_service *service;
    const dr_status rc = dr_service_start(&service, &options, err);

    assert_int_equal(service == NULL, rc != DR_OK);
    if (service) {
        char *text = dr_service_metrics(service);
        assert_non_null(strstr(text, "\ndarkroom_ready "));
        free(text);
    }
    dr_service_stop(service);
    return rc;
}

static void a_worker_starts_or_says_so(void **state)
{
    broker b;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    assert_true(torture(start_and_stop, &b) > 25);
    broker_close(&b);
}

/* One that succeeds, one that is refused, one that is no job; from when they are sent on the nth allocation fails. */
static void put_three(broker *b, int n, int nth, bool for_good)
{
    static const char *const lines[] = {
        "{\"id\":\"good-%d\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":2}",
        "{\"id\":\"unknown-%d\",\"model\":\"m\",\"reply_topic\":\"none\"}",
    };
    char id[32], text[128];
    message m[2];
    dr_job *job[2];

    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), lines[i], n);
        job[i] = job_of(text);
        assert_int_equal(dr_job_encode(job[i], &m[i].bytes, &m[i].size, NULL), DR_OK);
    }
    allocations_fail(nth, for_good);
    for (int i = 0; i < 2; i++) {
        broker_put(b, i, job[i]->id, m[i].bytes, m[i].size, NULL);
        free(m[i].bytes);
        dr_job_free(job[i]);
    }
    snprintf(id, sizeof(id), "garbage-%d", n);
    broker_put(b, 1, id, "\xff\xff\xff", 3, NULL);
}

static void wait_committed(const char *name, int n)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    char key[32];

    snprintf(key, sizeof(key), "%s-%d", name, n);
    while (transactions_count(key) == 0 && dr_clock_ms() < until_ms)
        sleep_ms(2);
    if (transactions_count(key) != 1)
        fail_msg("%s has %d answers", key, transactions_count(key));
}

static void wait_for_three(int n)
{
    wait_committed("good", n);
    wait_committed("unknown", n);
    wait_committed("garbage", n);
}

/* What is no success says that it may be asked for again, but for the one that is refused for good. */
static void assert_answers(broker *b, int count)
{
    const rd_kafka_message_t *m = NULL;
    dr_result *result;
    read_log log;
    dr_error err;
    char id[32];

    log_read(&log, b, "results");
    for (int n = 0; n < count; n++)
        for (int refused = 0; refused < 2; refused++) {
            snprintf(id, sizeof(id), "%s-%d", refused ? "unknown" : "good", n);
            assert_true(log_find(&log, id, &m) >= 1);
            assert_int_equal(dr_result_decode(&result, m->payload, m->len, &err), DR_OK);
            if (refused)
                assert_string_equal(result->refusal.field, "reply_topic");
            else if (result->error.status)
                assert_true(result->error.status == DR_ENOMEM && result->error.retriable);
            else
                assert_int_equal(result->pictures, 1);
            dr_result_free(result);
        }
    log_free(&log);
}

/* An allocation fails while three messages are answered, then the next one with the next three; and all that follow, for
 * a while. */
static void every_message_is_answered_whatever_fails(void **state)
{
    enum { FEW = 20, MANY = 400 };
    dr_service *service;
    broker b;
    int n = 0, failed;
    (void)state;

    broker_open(&b, 1);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    transactions_watch(&b, "workers");
    service = start_service(&b);
    put_three(&b, 0, 0, false);
    wait_for_three(0);
    do {
        n++;
        put_three(&b, n, n, n % 7 == 0);
        if (n % 7 == 0) {
            sleep_ms(150);
            allocations.for_good = false; /* there is memory again */
        }
        wait_for_three(n);
        failed = allocations_failed();
        allocations_fail(0, false);
    } while (n < MANY && (n < FEW || failed > 0));
    assert_true(n > FEW && n < MANY);
    assert_null(transactions_doubled());
    dr_service_close_intake(service);
    assert_true(dr_service_drain(service, PATIENCE_MS));
    dr_service_stop(service);
    assert_answers(&b, n);
    transactions_close();
    broker_close(&b);
}

/* --- the pipeline ------------------------------------------------------------------------------- */

typedef struct outcome {
    pthread_mutex_t lock;
    int results, lacked;
    dr_error err;
    char sha256[65]; /* of an honest one; "": none yet */
} outcome;

static void on_result(void *arg, dr_result *result)
{
    outcome *o = arg;

    pthread_mutex_lock(&o->lock);
    o->results++;
    if (result->error.status != DR_OK) {
        assert_int_equal(result->pictures, 0);
        o->err = result->error;
        o->lacked++;
    } else {
        assert_int_equal(result->pictures, 2);
        if (!o->sha256[0])
            strcpy(o->sha256, result->picture[1].sha256);
        assert_string_equal(o->sha256, result->picture[1].sha256);
    }
    pthread_mutex_unlock(&o->lock);
    dr_result_free(result);
}

static dr_status draw(void *context, dr_error *err)
{
    outcome *o = context;
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "null" }, .batch_max = 4, .models_max = 1 },
        .finish_threads = 1,
        .shortage_ms = 1,
        .jobs_max = 4,
        .on_result = on_result,
        .arg = o,
    };
    dr_refusal refusal;
    dr_pipeline *p;
    dr_job *job;
    dr_status rc;

    o->results = o->lacked = 0;
    rc = dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, &refusal, err);
    if (rc)
        return rc;
    rc = dr_pipeline_start(&p, &options, err);
    if (rc) {
        dr_job_free(job);
        return rc;
    }
    if (dr_pipeline_submit(p, job)) {
        assert_true(dr_pipeline_drain(p, 30000));
        assert_int_equal(o->results, 1);
        if (o->lacked > 0) {
            *err = o->err;
            rc = err->status;
        }
    } else {
        dr_job_free(job);
        rc = dr_fail(err, DR_ENOMEM, "no memory for a job that waits");
    }
    dr_pipeline_stop(p);
    return rc;
}

static void drawing_survives_any_allocation(void **state)
{
    static outcome o = { .lock = PTHREAD_MUTEX_INITIALIZER };
    dr_error err;
    (void)state;

    assert_int_equal(draw(&o, &err), DR_OK);
    assert_true(torture(draw, &o) > 60);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(render_survives_any_allocation), /* before there are threads */
        cmocka_unit_test(jobs_survive_any_allocation),
        cmocka_unit_test(files_of_jobs_survive_any_allocation),
        cmocka_unit_test(results_survive_any_allocation),
        cmocka_unit_test(pictures_survive_any_allocation),
        cmocka_unit_test(parcels_survive_any_allocation),
        cmocka_unit_test(what_speaks_to_a_broker_opens_or_says_so),
        cmocka_unit_test(drawing_survives_any_allocation),
        cmocka_unit_test(partitions_and_commits_wait_for_memory),
        cmocka_unit_test(a_worker_starts_or_says_so),
        cmocka_unit_test(every_message_is_answered_whatever_fails),
    };
    dr_error err;
    int failed;

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    json_set_alloc_funcs(malloc, free); /* ours, by --wrap */
    if (dr_pictures_start(&err))
        return 1;
    failed = cmocka_run_group_tests_name("torture", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
