/* The whole worker, on the mock broker with the null device: N jobs in, N results out, whatever happens
 * between; probes and metrics; the drain; a missing broker. */
#include "tests/support/http_get.h"
#include "tests/worker/broker_fixture.h"
#include "worker/delivery/control.h"
#include "worker/jobs/job_fields.h"
#include "worker/pictures/picture.h"
#include "worker/service/http.h"
#include "worker/service/service.h"

#include "darkroom/v1/control.pb-c.h"

#include <sys/stat.h>
#include <unistd.h>

static broker shared;
static dr_service *service;

static dr_service_options options_for(const broker *b, const char *slot)
{
    static const char *const reply_topics[] = { "replies" };

    return (dr_service_options){
        .kafka = b->options,
        .group = "workers",
        .slot = slot,
        .jobs_topic = "jobs",
        .results_topic = "results",
        .dead_letters_topic = "dead",
        .events_topic = "events",
        .control_topic = "control",
        .reply_topics = reply_topics,
        .reply_topics_count = 1,
        .pipeline = {
            .engine = { .device = { .name = "null" }, .batch_max = 4, .models_max = 1, .null_step_us = 200 },
            .finish_threads = 1,
            .jobs_max = 16,
        },
    };
}

static int start(void **state)
{
    dr_service_options options;
    dr_error err;

    (void)state;
    if (dr_pictures_start(&err))
        return -1;
    broker_open(&shared, 1);
    assert_int_equal(dr_mock_broker_topic(shared.mock, "replies", 1, &err), DR_OK);
    assert_int_equal(dr_mock_broker_topic(shared.mock, "control", 1, &err), DR_OK);
    dr_log_set(DR_LOG_INFO, DR_LOG_TEXT); /* while the service has no threads yet */
    options = options_for(&shared, "slot-0");
    return dr_service_start(&service, &options, &err) ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    dr_service_stop(service);
    broker_close(&shared);
    dr_pictures_stop();
    return 0;
}

/* fields: name, value, ..., NULL */
static void put_job(broker *b, int partition, const char *id, const char *const *fields)
{
    dr_job *job = dr_job_create();
    dr_refusal refusal;
    dr_error err;
    void *bytes;
    size_t size;

    assert_int_equal(dr_job_set_text(job, dr_job_field_find("id"), id, &refusal, &err), DR_OK);
    assert_int_equal(dr_job_set_text(job, dr_job_field_find("model"), "none", &refusal, &err), DR_OK);
    for (; *fields; fields += 2)
        assert_int_equal(dr_job_set_text(job, dr_job_field_find(fields[0]), fields[1], &refusal, &err),
                         DR_OK);
    assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
    broker_put(b, partition, id, bytes, size, NULL);
    free(bytes);
    dr_job_free(job);
}

static const char *const small[] = { "width", "64", "height", "64", "steps", "5", NULL };

/* Wait until the topic has `count` messages. */
static void wait_messages(broker *b, const char *topic, size_t count, read_log *log)
{
    const int64_t until_ms = dr_clock_ms() + 30000;

    for (;;) {
        log_read(log, b, topic);
        if (log->count >= count || dr_clock_ms() > until_ms)
            break;
        log_free(log);
        sleep_ms(20);
    }
    if (log->count < count)
        fail_msg("%s has %zu of %zu messages", topic, log->count, count);
}

static dr_result *result_of(const read_log *log, const char *id)
{
    const rd_kafka_message_t *m = NULL;
    dr_result *result = NULL;
    dr_error err;

    assert_int_equal(log_find(log, id, &m), 1);
    assert_int_equal(dr_result_decode(&result, m->payload, m->len, &err), DR_OK);
    return result;
}

/* A job that needs a field which only the bytes can get wrong: steps (field 11) of 1000. */
static void put_impossible(broker *b, const char *id)
{
    static const uint8_t steps[] = { 0x58, 0xe8, 0x07 };
    uint8_t bytes[64] = { 0x0a, (uint8_t)strlen(id) };
    size_t size = 2;

    memcpy(bytes + size, id, strlen(id));
    size += strlen(id);
    memcpy(bytes + size, "\x12\x04none", 6);
    size += 6;
    memcpy(bytes + size, steps, sizeof(steps));
    broker_put(b, 0, id, bytes, size + sizeof(steps), NULL);
}

static void every_message_has_its_answer(void **state)
{
    const rd_kafka_message_t *dead = NULL;
    dr_result *r;
    read_log log;

    (void)state;
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "good-%d", i);
        put_job(&shared, i % PARTITIONS, id, small);
        if (i == 7)
            put_impossible(&shared, "impossible");
        if (i == 11)
            broker_put(&shared, 1, "garbage", "\xff\xff\xff", 3, NULL);
    }
    wait_messages(&shared, "results", 21, &log);
    assert_int_equal(log.count, 21);
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "good-%d", i);
        r = result_of(&log, id);
        assert_string_equal(dr_result_state_name(r), "succeeded");
        assert_int_equal(r->pictures, 1);
        assert_true(r->picture[0].size > 8);
        assert_memory_equal(r->picture[0].bytes, "\x89PNG", 4);
        dr_result_free(r);
    }
    r = result_of(&log, "impossible");
    assert_int_equal(r->error.status, DR_EINVAL);
    assert_string_equal(r->refusal.field, "steps");
    assert_string_equal(r->refusal.allowed, "1..150");
    dr_result_free(r);
    log_free(&log);

    wait_messages(&shared, "dead", 1, &log);
    assert_int_equal(log_find(&log, "garbage", &dead), 1);
    assert_header(dead, "kafka_dlt-original-topic", "jobs");
    assert_header(dead, "kafka_dlt-original-partition", "1");
    assert_header(dead, "kafka_dlt-exception-fqcn", "darkroom.malformed");
    log_free(&log);
}

/* In the log once, with the job's place, and in the result. */
static void what_is_not_supported_is_said(void **state)
{
    static const char *const weighted[] = { "width", "64",     "height",          "64", "steps",
                                            "2",     "prompt", "a (red:1.3) fox", NULL };
    const int before = dup(STDERR_FILENO);
    FILE *said = tmpfile();
    char text[8192];
    read_log log;
    dr_result *r = NULL;
    const int64_t until_ms = dr_clock_ms() + 60000;

    (void)state;
    dup2(fileno(said), STDERR_FILENO);
    put_job(&shared, 0, "weighted", weighted);
    while (!r && dr_clock_ms() < until_ms) {
        const rd_kafka_message_t *m;
        log_read(&log, &shared, "results");
        if (log_find(&log, "weighted", &m) == 1)
            r = result_of(&log, "weighted");
        log_free(&log);
    }
    dup2(before, STDERR_FILENO);
    close(before);
    assert_non_null(r);
    assert_int_equal(r->warnings.count, 1);
    dr_result_free(r);
    rewind(said);
    text[fread(text, 1, sizeof(text) - 1, said)] = 0;
    fclose(said);
    const char *line = strstr(text,
                              "prompt: weights like (word:1.3) are not supported, and read as text (job "
                              "weighted, partition 0 offset ");
    if (!line || strstr(line + 20, "weights like") || strstr(text, "a (red"))
        fail_msg("%s", text);
}

static void a_reply_topic_is_used_only_where_it_is_allowed(void **state)
{
    static const char *const allowed[] = { "width", "64",          "height",  "64", "steps",
                                           "2",     "reply_topic", "replies", NULL };
    static const char *const other[] = { "width", "64",          "height", "64", "steps",
                                         "2",     "reply_topic", "jobs",   NULL };
    /* Impossible (steps 0), and would have the answer go among the jobs. */
    static const char sly[] = "\x0a\x03sly\x12\x04none\x58\x00\xb2\x01\x04jobs";
    dr_result *r;
    read_log log;

    (void)state;
    broker_put(&shared, 0, "sly", sly, sizeof(sly) - 1, NULL);
    put_job(&shared, 0, "reply", allowed);
    put_job(&shared, 0, "no-reply", other);
    wait_messages(&shared, "replies", 1, &log);
    r = result_of(&log, "reply");
    assert_int_equal(r->error.status, DR_OK);
    dr_result_free(r);
    log_free(&log);
    wait_messages(&shared, "results", 23, &log);
    r = result_of(&log, "no-reply");
    assert_string_equal(r->refusal.field, "reply_topic");
    dr_result_free(r);
    r = result_of(&log, "sly");
    assert_string_equal(r->refusal.field, "steps");
    dr_result_free(r);
    log_free(&log);
}

static void events_tell_how_a_job_gets_on(void **state)
{
    static const char *const fields[] = { "width",         "64",   "height", "64", "steps", "3",
                                          "report_events", "true", NULL };
    read_log log;

    (void)state;
    put_job(&shared, 0, "told", fields);
    wait_messages(&shared, "events", 3, &log); /* queued, started, finished; steps are rarer than 500 ms */
    assert_int_equal(log_find(&log, "told", NULL), (int)log.count);
    log_free(&log);
}

/* A CancelJob message, malloc'ed. */
static void encode_cancel(const char *id, uint8_t **bytes, size_t *size)
{
    Darkroom__V1__CancelJob command = DARKROOM__V1__CANCEL_JOB__INIT;
    Darkroom__V1__Control control = DARKROOM__V1__CONTROL__INIT;

    command.id = (char *)(uintptr_t)id;
    control.command_case = DARKROOM__V1__CONTROL__COMMAND_CANCEL_JOB;
    control.cancel_job = &command;
    *size = darkroom__v1__control__get_packed_size(&control);
    *bytes = malloc(*size);
    assert_non_null(*bytes);
    darkroom__v1__control__pack(&control, *bytes);
}

static void a_canceled_job_ends_early(void **state)
{
    static const char *const slow[] = { "width", "64", "height", "64", "steps", "150", "images", "16", NULL };
    const int64_t begin_ms = dr_clock_ms();
    uint8_t *bytes;
    size_t size;
    dr_result *r;
    read_log log;

    (void)state;
    for (int i = 0; i < 12; i++) {
        char id[16];
        snprintf(id, sizeof(id), "slow-%d", i);
        put_job(&shared, 0, id, slow);
    }
    encode_cancel("slow-11", &bytes, &size);
    assert_int_equal(rd_kafka_producev(shared.producer, RD_KAFKA_V_TOPIC("control"), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY("slow-11", 7), RD_KAFKA_V_VALUE(bytes, size),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    free(bytes);
    assert_int_equal(rd_kafka_flush(shared.producer, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_messages(&shared, "results", 23 + 1 + 12, &log);
    r = result_of(&log, "slow-11");
    assert_string_equal(dr_result_state_name(r), "canceled");
    dr_result_free(r);
    log_free(&log);
    assert_true(dr_clock_ms() - begin_ms < 30000);
}

static void send_at(const char *topic, const char *id, const void *bytes, size_t size, int64_t time_ms)
{
    assert_int_equal(rd_kafka_producev(shared.producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(id, strlen(id)), RD_KAFKA_V_VALUE((void *)bytes, size),
                                       RD_KAFKA_V_TIMESTAMP(time_ms),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(shared.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void cancel_at(const char *id, int64_t time_ms)
{
    uint8_t *bytes;
    size_t size;

    encode_cancel(id, &bytes, &size);
    send_at("control", id, bytes, size, time_ms);
    free(bytes);
}

static void put_job_at(const char *id, int64_t time_ms)
{
    static const char line[] = "{\"model\":\"none\",\"width\":64,\"height\":64,\"steps\":2}";
    dr_error err;
    dr_job *job;
    void *bytes;
    size_t size;

    assert_int_equal(dr_job_parse(&job,
                                  &(dr_job_line){ .text = line, .size = strlen(line), .fallback_id = id },
                                  NULL, &err),
                     DR_OK);
    assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
    send_at("jobs", id, bytes, size, time_ms);
    free(bytes);
    dr_job_free(job);
}

/* The id of a job that was canceled can be used again at once.  But a job that was sent before the
 * cancellation stays canceled, however late it arrives. */
static void a_cancellation_means_jobs_sent_before_it(void **state)
{
    static const char *const slow[] = { "width", "64", "height", "64", "steps", "150", "images", "16", NULL };
    const int64_t now_ms = (int64_t)time(NULL) * 1000;
    int canceled = 0, succeeded = 0;
    size_t before;
    read_log log;

    (void)state;
    log_read(&log, &shared, "results");
    before = log.count;
    log_free(&log);
    cancel_at("again", now_ms);
    put_job(&shared, 0, "heard", slow);
    cancel_at("heard", now_ms + 60000);
    wait_messages(&shared, "results", before + 1, &log); /* so the one before it was heard too */
    log_free(&log);
    put_job_at("again", now_ms - 1000);
    put_job_at("again", now_ms);
    put_job_at("again", now_ms + 1);
    wait_messages(&shared, "results", before + 4, &log);
    for (size_t i = before; i < log.count; i++) {
        dr_result *r;
        dr_error err;
        assert_int_equal(dr_result_decode(&r, log.message[i]->payload, log.message[i]->len, &err), DR_OK);
        if (strcmp(r->job->id, "again") == 0) {
            canceled += r->error.status == DR_ECANCELED;
            succeeded += r->error.status == DR_OK;
        }
        dr_result_free(r);
    }
    log_free(&log);
    assert_int_equal(canceled, 2);
    assert_int_equal(succeeded, 1);
}

/* --- http ------------------------------------------------------------------------------------ */

static dr_http_answer on_http(void *arg, const char *path)
{
    (void)arg;
    if (strcmp(path, "/metrics") == 0)
        return (dr_http_answer){ 200, "text/plain; version=0.0.4", dr_service_metrics(service) };
    if (strcmp(path, "/empty") == 0)
        return (dr_http_answer){ 204, NULL, NULL };
    return (dr_http_answer){ 0 };
}

static void metrics_are_served(void **state)
{
    dr_http *http;
    dr_error err;
    static char body[HTTP_BODY_MAX];

    (void)state;
    assert_int_equal(dr_http_open(&http, "127.0.0.1:0", &err), DR_OK);
    assert_int_equal(dr_http_serve(http, on_http, NULL, &err), DR_OK);
    assert_int_equal(http_get(dr_http_port(http), "/metrics", body), 200);
    assert_non_null(strstr(body, "\ndarkroom_jobs_total{state=\"succeeded\"} "));
    assert_non_null(strstr(body, "\ndarkroom_jobs_total{state=\"canceled\"} 4\n"));
    assert_non_null(strstr(body, "\ndarkroom_dead_letters_total 1\n"));
    assert_non_null(strstr(body, "\ndarkroom_ready 1\n"));
    assert_non_null(strstr(body, "\ndarkroom_jobs_in_flight 0\n"));
    assert_non_null(strstr(body, "\ndarkroom_device_load_seconds_total 0\n")); /* null has no device */
    assert_non_null(strstr(body, "\ndarkroom_device_idle_seconds_total 0\n"));
    assert_non_null(strstr(body, "darkroom_batch_samples_bucket{le=\"+Inf\"}"));
    assert_int_equal(http_get(dr_http_port(http), "/empty", body), 204);
    assert_int_equal(http_get(dr_http_port(http), "/none", body), 404);
    assert_int_equal(http_ask(dr_http_port(http), "/metrics", "x", body), 405);
    dr_http_stop(http);
}

/* --- the end ------------------------------------------------------------------------------------ */

/* Everything that was taken has its result; what was not taken waits for the next worker, here of another
 * name. */
static void a_drain_finishes_what_was_taken(void **state)
{
    dr_service_options options = options_for(&shared, "slot-0");
    dr_error err;
    read_log log;
    size_t before, after;

    (void)state;
    log_read(&log, &shared, "results");
    before = log.count;
    log_free(&log);
    for (int i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof(id), "drain-%d", i);
        put_job(&shared, i % PARTITIONS, id, small);
    }
    dr_service_close_intake(service);
    assert_false(dr_service_ready(service, &err));
    assert_true(dr_service_drain(service, 20000));
    dr_service_stop(service);
    log_read(&log, &shared, "results");
    after = log.count;
    for (int i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof(id), "drain-%d", i);
        assert_true(log_find(&log, id, NULL) <= 1);
    }
    log_free(&log);
    assert_true(after <= before + 40);
    assert_int_equal(dr_service_start(&service, &options, &err), DR_OK);
}

static void wait_ready(dr_service *s, bool ready, dr_error *why)
{
    const int64_t until_ms = dr_clock_ms() + 60000;

    while (dr_service_ready(s, why) != ready && dr_clock_ms() < until_ms)
        sleep_ms(50);
    if (dr_service_ready(s, why) != ready)
        fail_msg("%s", ready ? why->text : "it is ready");
}

static bool metric_is(dr_service *s, const char *line)
{
    char *text = dr_service_metrics(s);

    assert_non_null(text);
    const bool is = strstr(text, line) != NULL;
    free(text);
    return is;
}

static void wait_reason(dr_service *s, const char *text)
{
    const int64_t until_ms = dr_clock_ms() + 60000;
    dr_error why;

    while ((dr_service_ready(s, &why) || !strstr(why.text, text)) && dr_clock_ms() < until_ms)
        sleep_ms(50);
    assert_false(dr_service_ready(s, &why));
    if (!strstr(why.text, text))
        fail_msg("%s", why.text);
}

static void a_broker_that_is_not_there_is_waited_for(void **state)
{
    dr_property nowhere = { "bootstrap.servers", "127.0.0.1:1" };
    dr_service_options options = options_for(&shared, "slot-9");
    dr_service *s;
    dr_error err;

    (void)state;
    options.kafka = (dr_kafka_options){ &nowhere, 1 };
    assert_int_equal(dr_service_start(&s, &options, &err), DR_OK);
    sleep_ms(1500);
    assert_false(dr_service_ready(s, &err));
    assert_non_null(strstr(err.text, "no broker answers"));
    wait_reason(s, "127.0.0.1:1"); /* and why */
    assert_true(dr_service_healthy(s, &err));
    assert_int_equal(dr_service_fatal(s, &err), DR_OK);
    dr_service_close_intake(s);
    assert_true(dr_service_drain(s, 1000));
    dr_service_stop(s);
}

/* A folder of models is missing, and then empty.  No job loses its picture by that: jobs stay in their topic
 * until there is a model. */
static void without_a_model_no_job_is_taken(void **state)
{
    dr_service_options options = options_for(&shared, "slot-7");
    char folder[] = "/tmp/darkroom-service-XXXXXX", models[64], command[256];
    static const char line[] = "{\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":1}";
    dr_service *s;
    dr_job *job;
    dr_error err;
    read_log log;
    void *bytes;
    size_t size;

    (void)state;
    assert_int_equal(dr_mock_broker_topic(shared.mock, "few-jobs", 1, &err), DR_OK);
    assert_int_equal(dr_mock_broker_topic(shared.mock, "few-results", 1, &err), DR_OK);
    assert_non_null(mkdtemp(folder));
    snprintf(models, sizeof(models), "%s/models", folder);
    options.group = "few";
    options.jobs_topic = "few-jobs";
    options.results_topic = "few-results";
    options.pipeline.engine.device.name = "cpu";
    options.pipeline.engine.models_dir = models;
    assert_int_equal(
        dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line), .fallback_id = "early" }, NULL,
                     &err),
        DR_OK);
    assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
    send_at("few-jobs", "early", bytes, size, 0);
    free(bytes);
    dr_job_free(job);

    assert_int_equal(dr_service_start(&s, &options, &err), DR_OK);
    wait_reason(s, "no model can be used: ");
    wait_reason(s, models);
    assert_int_equal(mkdir(models, 0777), 0);
    wait_reason(s, "model_index.json");
    sleep_ms(500); /* for a job that is taken too early */
    assert_true(dr_service_healthy(s, &err));
    assert_true(metric_is(s, "\ndarkroom_messages_received_total 0\n"));
    assert_true(metric_is(s, "\ndarkroom_ready 0\n"));
    snprintf(command, sizeof(command), "ln -s $PWD/tests/goldens/models/sd1 %s/m", models);
    assert_int_equal(system(command), 0);
    wait_ready(s, true, &err);
    wait_messages(&shared, "few-results", 1, &log);
    dr_result *r = result_of(&log, "early");
    if (r->error.status)
        fail_msg("%s", r->error.text);
    dr_result_free(r);
    log_free(&log);
    dr_service_stop(s);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* The right to write is missing for a while.  The reason that is told is the broker's, not what became of
 * the other records. */
static void who_may_not_write_is_not_ready(void **state)
{
    enum { PRODUCE = 0, ERRORS = 200 };
    static const char *const slow[] = { "width", "64", "height", "64", "steps", "150", "images", "16", NULL };
    static rd_kafka_resp_err_t denied[ERRORS];
    read_log log;
    dr_error why;

    (void)state;
    for (int i = 0; i < ERRORS; i++)
        denied[i] = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    wait_ready(service, true, &why);
    put_job(&shared, 0, "denied-1", slow);
    put_job(&shared, 0, "denied-2", slow);
    rd_kafka_mock_push_request_errors_array(shared.cluster, PRODUCE, ERRORS, denied);
    wait_reason(service, "can't commit: ");
    wait_reason(service, "authorization failed");
    assert_true(metric_is(service, "\ndarkroom_ready 0\n"));
    assert_true(dr_service_healthy(service, &why));
    rd_kafka_mock_clear_request_errors(shared.cluster, PRODUCE);
    wait_ready(service, true, &why);
    for (int i = 0; i < 600 && !metric_is(service, "\ndarkroom_jobs_in_flight 0\n"); i++)
        sleep_ms(50);
    log_read(&log, &shared, "results");
    assert_true(log_find(&log, "denied-1", NULL) >= 1);
    assert_true(log_find(&log, "denied-2", NULL) >= 1);
    log_free(&log);
}

static void a_bad_setting_is_told_at_the_start(void **state)
{
    dr_property bad = { "no.such.setting", "1" };
    dr_service_options options = options_for(&shared, "slot-9");
    dr_service *s;
    dr_error err;

    (void)state;
    options.kafka = (dr_kafka_options){ &bad, 1 };
    assert_int_equal(dr_service_start(&s, &options, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "no.such.setting"));
    assert_null(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_has_its_answer),
        cmocka_unit_test(what_is_not_supported_is_said),
        cmocka_unit_test(a_reply_topic_is_used_only_where_it_is_allowed),
        cmocka_unit_test(events_tell_how_a_job_gets_on),
        cmocka_unit_test(a_canceled_job_ends_early),
        cmocka_unit_test(a_cancellation_means_jobs_sent_before_it),
        cmocka_unit_test(metrics_are_served),
        cmocka_unit_test(a_drain_finishes_what_was_taken),
        cmocka_unit_test(a_broker_that_is_not_there_is_waited_for),
        cmocka_unit_test(without_a_model_no_job_is_taken),
        cmocka_unit_test(who_may_not_write_is_not_ready),
        cmocka_unit_test(a_bad_setting_is_told_at_the_start),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start, stop);
}
