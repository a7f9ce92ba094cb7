/* Settings: which place overrides which, and what is said about a bad one. */
#include "worker/settings/config.h"

#include "base/limits.h"
#include "tests/support/temp_folder.h"
#include "worker/pipeline/options.h"
#include "worker/support/files.h"
#include "worker/support/log.h"
#include "worker/support/secrets.h"

#include <ctype.h>
#include <glob.h>

static temp_folder folder;

static int begin(void **state)
{
    dr_config config;
    dr_error err;

    (void)state;
    if (dr_config_open(&config, &err)) { /* a default that is not allowed would fail every test here */
        print_error("%s\n", err.text);
        return -1;
    }
    dr_config_close(&config);
    temp_open(&folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_close(&folder);
    return 0;
}

static dr_status read_config(dr_config *config, const char *text, dr_error *err)
{
    assert_int_equal(dr_config_open(config, NULL), DR_OK);
    return dr_config_read_file(config, temp_write(&folder, "darkroom.conf", text, strlen(text)), err);
}

static void later_wins(void **state)
{
    char *environment[] = { "DARKROOM_BATCH_MAX=5", "DARKROOM_THREADS=3", "PATH=/bin", "DARKROOMS=1", NULL };
    dr_config config;
    (void)state;

    assert_int_equal(read_config(&config, "batch_max = 4\nthreads = 2\nlog_level = debug\n", NULL), DR_OK);
    assert_int_equal(config.jobs_max, 64); /* the default */
    assert_int_equal(config.log_level, DR_LOG_DEBUG);
    assert_int_equal(config.batch_max, 4);
    assert_int_equal(dr_config_read_environment(&config, environment, NULL), DR_OK);
    assert_int_equal(config.batch_max, 5);
    assert_int_equal(config.threads, 3);
    assert_int_equal(dr_config_set(&config, dr_setting_find("threads"), "1", "--threads", NULL), DR_OK);
    assert_int_equal(config.threads, 1);
    dr_config_close(&config);
}

static void files_are_flat(void **state)
{
    dr_config config;
    (void)state;

    assert_int_equal(read_config(&config,
                                 "# comment\n; another\n\nmodels = /srv/models  \n"
                                 "kafka.security.protocol = ssl\nsheet=false\nbrokers = a:9092,b:9092",
                                 NULL),
                     DR_OK);
    assert_string_equal(config.models, "/srv/models");
    assert_string_equal(config.brokers, "a:9092,b:9092");
    assert_false(config.sheet);
    assert_int_equal(config.kafka_count, 1);
    assert_string_equal(config.kafka[0].key, "security.protocol");
    assert_string_equal(config.kafka[0].value, "ssl");
    dr_config_close(&config);
}

static void a_bad_file_says_where(void **state)
{
    static const struct {
        const char *text, *says, *says_too;
    } cases[] = {
        { "threads = 1\nthread = 2\n", ":2: ", "\"thread\"" },
        { "batch_max = 65\n", ":1: ", "1..64" },
        { "batch_max = 0\n", ":1: ", "1..64" },
        { "batch_max = 4x\n", ":1: ", "\"4x\"" },
        { "batch_max = 99999999999999999999\n", ":1: ", "1..64" },
        { "batch_max = \n", ":1: ", "1..64" },
        { "log_level = loud\n", ":1: ", "error, warn, info, debug" },
        { "sheet = yes\n", ":1: ", "true, false" },
        { "[worker]\nthreads = 1\n", ":1: ", "section" },
        { "\nthreads\n", ":2: ", "key = value" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_config config;
        dr_error err = { .text = "" };
        assert_int_equal(read_config(&config, cases[i].text, &err), DR_EINVAL);
        if (!strstr(err.text, folder.file) || !strstr(err.text, cases[i].says) ||
            !strstr(err.text, cases[i].says_too))
            fail_msg("%s: %s", cases[i].text, err.text);
        dr_config_close(&config);
    }
}

/* A password is all between = and the end of its line, whatever characters it has. */
static void values_are_taken_whole(void **state)
{
    static const char *const values[] = {
        "a ;b", "a #b", "a;b#c", "\"quoted\"", "'q'", "a=b==", "a:b", "\\", "a\\", "[x]", "a  b", "\xc3\xa9",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        for (int blanks = 0; blanks < 2; blanks++) {
            char text[128];
            dr_config config;
            dr_error err;
            snprintf(text, sizeof(text), "threads=1\nkafka.sasl.password%s=%s%s%s\nbatch_max = 4\n",
                     blanks ? " \t" : "", blanks ? " " : "", values[i], blanks ? " \r" : "");
            if (read_config(&config, text, &err))
                fail_msg("%s: %s", values[i], err.text);
            assert_int_equal(config.kafka_count, 1);
            assert_string_equal(config.kafka[0].value, values[i]);
            assert_int_equal(config.batch_max, 4);
            dr_config_close(&config);
        }
}

/* Such a line does not continue the one before, and it is not dropped either: it is an error. */
static void no_line_goes_on_in_the_next(void **state)
{
    dr_config config;
    dr_error err;
    (void)state;

    assert_int_equal(read_config(&config, "kafka.sasl.password = secret\n  threads = 2\n", &err), DR_EINVAL);
    assert_non_null(strstr(err.text, ":2: begins with a blank"));
    assert_null(strstr(err.text, "secret"));
    dr_config_close(&config);
    assert_int_equal(read_config(&config, "threads = 2\n  \n\t# a comment\n  ; another\n", &err), DR_OK);
    dr_config_close(&config);
}

static void a_long_line_is_read_or_refused(void **state)
{
    char *text = malloc(DR_CONFIG_LINE_BYTES_MAX + 100);
    dr_config config;
    dr_error err;
    (void)state;

    snprintf(text, DR_CONFIG_LINE_BYTES_MAX, "threads = 1\nmodels = %050000d\n", 0);
    assert_int_equal(read_config(&config, text, &err), DR_OK);
    assert_int_equal(strlen(config.models), 50000);
    dr_config_close(&config);
    snprintf(text, DR_CONFIG_LINE_BYTES_MAX + 100, "threads = 1\nmodels = %0*d\n", DR_CONFIG_LINE_BYTES_MAX,
             0);
    assert_int_equal(read_config(&config, text, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, ":2: a line of 65545 bytes"));
    dr_config_close(&config);
    free(text);
}

/* Editors of Windows save files so. */
static void encodings_of_others_are_read(void **state)
{
    static const char plain[] = "threads = 3\r\nmodels = C\xff\r\n",
                      marked[] = "\xef\xbb\xbfthreads = 3\r\nmodels = m\r\n";
    char wide[2 * sizeof(plain)], *to = wide;
    dr_config config;
    (void)state;

    assert_int_equal(read_config(&config, marked, NULL), DR_OK);
    assert_int_equal(config.threads, 3);
    assert_string_equal(config.models, "m");
    dr_config_close(&config);
    for (size_t i = 0; i + 1 < sizeof(plain); i++) {
        *to++ = plain[i];
        *to++ = 0;
    }
    assert_int_equal(dr_config_open(&config, NULL), DR_OK);
    temp_write(&folder, "wide.conf", wide, (size_t)(to - wide));
    assert_int_equal(dr_config_read_file(&config, folder.file, NULL), DR_OK);
    assert_int_equal(config.threads, 3);
    assert_string_equal(config.models, "C\xc3\xbf");
    dr_config_close(&config);
}

/* An error does not show the line, which may hold a password. */
static void a_bad_line_is_not_repeated(void **state)
{
    static const char *const lines[] = {
        "kafka.sasl.password secret",
        "kafka.sasl.password secret = x",
        "kafka.sasl.password: secret = x",
        "sasl.password: secret=x",
        " kafka.sasl.password = secret",
        "[secret]",
        "= secret",
        "sasl.password = secret",
        "kafka. = secret",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        dr_config config;
        dr_error err;
        assert_int_equal(read_config(&config, lines[i], &err), DR_EINVAL);
        if (strstr(err.text, "secret"))
            fail_msg("%s", err.text);
        dr_config_close(&config);
    }
}

/* A secret of this size, with and without a byte-order mark and a line end, is taken whole or refused. */
static void secrets_of_a_size(size_t size, dr_status expected)
{
    char *text = malloc(size + 8), *secret;

    for (int form = 0; form < 4; form++) {
        size_t n = 0;
        dr_error err;
        if (form & 1)
            n += (size_t)sprintf(text, "\xef\xbb\xbf");
        memset(text + n, 'x', size);
        n += size;
        if (form & 2)
            n += (size_t)sprintf(text + n, "\r\n");
        assert_int_equal(dr_secret_read(&secret, temp_write(&folder, "secret", text, n), &err), expected);
        if (!expected)
            assert_int_equal(strlen(secret), size);
        free(secret);
    }
    free(text);
}

static void secrets_stand_in_files(void **state)
{
    static const struct {
        const char *content, *expected; /* NULL: refused */
    } cases[] = {
        { "pass word;#=\n", "pass word;#=" },
        { "p\r\n", "p" },
        { "p", "p" },
        { " p \n\n", " p \n" },
        { "", NULL },
        { "\n", NULL },
        { "\xef\xbb\xbfp\r\n", "p" }, /* as editors and PowerShell of Windows write it */
        { "\xef\xbb\xbf\n", NULL },
        { "\xff\xfe", "\xff\xfe" }, /* two bytes that a password may have */
    };
    char *variable[] = { NULL, NULL }, text[128], where[128];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_config config;
        dr_error err;
        char secret[80];
        strcpy(secret, temp_write(&folder, "secret", cases[i].content, strlen(cases[i].content)));
        snprintf(text, sizeof(text), "kafka.sasl.password_file = %s\n", secret);
        snprintf(where, sizeof(where), "DARKROOM_KAFKA_SSL_KEY_PASSWORD_FILE=%s", secret);
        variable[0] = where;
        const dr_status rc = read_config(&config, text, &err);
        assert_int_equal(rc, cases[i].expected ? DR_OK : DR_EINVAL);
        if (rc) {
            assert_non_null(strstr(err.text, secret));
        } else {
            assert_string_equal(config.kafka[0].key, "sasl.password");
            assert_string_equal(config.kafka[0].value, cases[i].expected);
            assert_int_equal(dr_config_read_environment(&config, variable, &err), DR_OK);
            assert_string_equal(config.kafka[1].key, "ssl.key.password");
            assert_string_equal(config.kafka[1].value, cases[i].expected);
        }
        dr_config_close(&config);
    }
    secrets_of_a_size(DR_SECRET_BYTES_MAX, DR_OK);
    secrets_of_a_size(DR_SECRET_BYTES_MAX + 1, DR_EINVAL);
    dr_config config;
    dr_error err;
    assert_int_equal(read_config(&config, "kafka.sasl.password_file = /no/such/file\n", &err), DR_EINVAL);
    assert_non_null(strstr(err.text, ":1: kafka.sasl.password_file: /no/such/file"));
    dr_config_close(&config);
    /* this name only looks like that of a secret */
    assert_int_equal(read_config(&config, "kafka.ssl.ca.location.file = /no/such/file\n", &err), DR_OK);
    assert_string_equal(config.kafka[0].key, "ssl.ca.location.file");
    dr_config_close(&config);
}

static void a_missing_file_is_named(void **state)
{
    dr_config config;
    dr_error err;
    (void)state;

    assert_int_equal(dr_config_open(&config, NULL), DR_OK);
    assert_int_equal(dr_config_read_file(&config, "/no/such/file.conf", &err), DR_ENOTFOUND);
    assert_non_null(strstr(err.text, "/no/such/file.conf"));
    dr_config_close(&config);
}

static void variables_are_checked(void **state)
{
    char *unknown[] = { "DARKROOM_BATCHES=5", NULL };
    char *range[] = { "DARKROOM_BATCH_MAX=500", NULL };
    char *kafka[] = { "DARKROOM_KAFKA_SECURITY_PROTOCOL=ssl", NULL };
    char *pod[] = { "DARKROOM_SERVICE_HOST=10.0.0.1", "DARKROOM_PORT=tcp://10.0.0.1:9464",
                    "DARKROOM_PORT_9464_TCP_PROTO=tcp", "DARKROOM_CONFIG=/etc/darkroom.conf", NULL };
    dr_config config;
    dr_error err;
    (void)state;

    assert_int_equal(dr_config_open(&config, NULL), DR_OK);
    assert_int_equal(dr_config_read_environment(&config, unknown, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "DARKROOM_BATCHES"));
    assert_int_equal(dr_config_read_environment(&config, range, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "DARKROOM_BATCH_MAX"));
    assert_int_equal(dr_config_read_environment(&config, kafka, NULL), DR_OK);
    assert_string_equal(config.kafka[0].key, "security.protocol");
    assert_int_equal(dr_config_read_environment(&config, pod, NULL), DR_OK);
    dr_config_close(&config);
}

/* Each row can stand in a file with its default, and its bounds are where the row says. */
static void every_row_holds(void **state)
{
    (void)state;
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_setting *s = &dr_settings[i];
        char text[256];
        dr_config config;
        assert_true(s->help && *s->help && s->commands);
        assert_ptr_equal(dr_setting_find(s->name), s); /* no name twice */
        snprintf(text, sizeof(text), "%s = %s\n", s->name, s->preset);
        assert_int_equal(read_config(&config, text, NULL), DR_OK);
        dr_config_close(&config);
        for (int end = 0; s->type == DR_SETTING_INT && end < 2; end++) {
            dr_error err;
            assert_int_equal(dr_config_open(&config, NULL), DR_OK);
            snprintf(text, sizeof(text), "%ld", end ? s->max : s->min);
            assert_int_equal(dr_config_set(&config, s, text, "test", NULL), DR_OK);
            snprintf(text, sizeof(text), "%ld", end ? s->max + 1 : s->min - 1);
            assert_int_equal(dr_config_set(&config, s, text, "test", &err), DR_EINVAL);
            dr_config_close(&config);
        }
    }
}

/* The text of all files that match. */
static char *text_of(const char *pattern)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    glob_t files;

    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        void *bytes;
        size_t count;
        assert_int_equal(dr_file_read(files.gl_pathv[i], 1 << 20, &bytes, &count, NULL), DR_OK);
        fwrite(bytes, 1, count, to);
        free(bytes);
    }
    globfree(&files);
    fclose(to);
    return text;
}

/* "config->batch_max" or "config.batch_max"; neither "config->batch_max_more" nor ".batch_max = 1" */
static bool reads_member(const char *text, const char *name)
{
    const size_t size = strlen(name);

    for (const char *at = text; (at = strstr(at, name)); at += size) {
        const bool member =
            at > text + 1 && (at[-1] == '>' || (at[-1] == '.' && isalnum((unsigned char)at[-2])));
        if (member && !isalnum((unsigned char)at[size]) && at[size] != '_')
            return true;
    }
    return false;
}

/* Whether the text calls the function: "name(". */
static bool calls(const char *text, const char *name)
{
    const size_t size = strlen(name);

    for (const char *at = text; (at = strstr(at, name)); at += size)
        if (at[size] == '(' && !isalnum((unsigned char)at[-1]) && at[-1] != '_')
            return true;
    return false;
}

typedef struct setup_function {
    char name[64], *body;
    bool reached;
} setup_function;

enum { SETUP_MAX = 32 };

/* Cut setup.c, in place, into its functions: a line that begins with a type, up to a line "}". */
static int cut_setup(setup_function *function, char *setup)
{
    int count = 0;

    for (char *end; (end = strstr(setup, "\n}\n")); setup = end + 3) {
        char *body = strstr(setup, "\n{\n"), *name = body;
        assert_true(body && body < end && count < SETUP_MAX);
        *end = 0;
        while (name > setup && *name != '(')
            name--;
        char *after = name;
        while (name > setup && (isalnum((unsigned char)name[-1]) || name[-1] == '_'))
            name--;
        setup_function *f = &function[count++];
        *f = (setup_function){ .body = body };
        snprintf(f->name, sizeof(f->name), "%.*s", (int)(after - name), name);
    }
    return count;
}

/* What a command executes, as text: its own file, the files that match `more` (NULL: none), and the functions
 * of setup.c that these call, directly or through each other. */
static char *text_of_command(const char *name, const char *more)
{
    char path[64], *text = NULL, *setup = text_of("worker/program/setup.c"), *own, *shared;
    setup_function function[SETUP_MAX];
    const int count = cut_setup(function, setup);

    snprintf(path, sizeof(path), "worker/program/cmd_%s.c", name);
    own = text_of(path);
    shared = more ? text_of(more) : strdup("");
    assert_true(asprintf(&text, "%s\n%s", own, shared) > 0);
    for (int i = 0; i < count; i++) {
        char *longer;
        if (function[i].reached || !calls(text, function[i].name))
            continue;
        function[i].reached = true;
        assert_true(asprintf(&longer, "%s\n%s", text, function[i].body) > 0);
        free(text);
        text = longer;
        i = -1; /* it may call those before it */
    }
    free(own);
    free(shared);
    free(setup);
    return text;
}

static bool is_of_device(const char *name)
{
    static const char *const device[] = {
#define NAME(field, setting, ...) #setting,
        DR_DEVICE_OPTIONS(NAME, NAME, NAME, NAME, NAME) /* dr_config_device() reads them all */
#undef NAME
    };

    for (size_t d = 0; d < sizeof(device) / sizeof(device[0]); d++)
        if (strcmp(device[d], name) == 0)
            return true;
    return false;
}

static bool is_of_pipeline(const char *name)
{
    static const char *const pipeline[] = {
#define NAME(setting) #setting,
        DR_PIPELINE_NUMBERS(NAME) /* dr_setup_pipeline() reads them all */
#undef NAME
    };

    for (size_t i = 0; i < sizeof(pipeline) / sizeof(pipeline[0]); i++)
        if (strcmp(pipeline[i], name) == 0)
            return true;
    return false;
}

/* A setting has an effect on each command that its row names. */
static void every_row_reaches_its_commands(void **state)
{
    static const struct {
        const char *name, *more;
        unsigned bit;
    } commands[] = {
        { "worker", NULL, DR_FOR_WORKER }, { "render", "worker/render/*.c", DR_FOR_RENDER },
        { "submit", NULL, DR_FOR_SUBMIT }, { "collect", NULL, DR_FOR_COLLECT },
        { "demo", NULL, DR_FOR_DEMO },     { "models", NULL, DR_FOR_MODELS },
    };
    char *all = text_of("worker/program/cli.c");
    unsigned known = 0;
    (void)state;

    for (size_t c = 0; c < sizeof(commands) / sizeof(commands[0]); c++) {
        char *text = text_of_command(commands[c].name, commands[c].more);
        known |= commands[c].bit;
        for (int i = 0; i < dr_setting_count; i++) {
            const dr_setting *s = &dr_settings[i];
            if ((s->commands & commands[c].bit) && !reads_member(text, s->name) &&
                !reads_member(s->commands == DR_FOR_ALL ? all : "", s->name) &&
                !(is_of_device(s->name) && calls(text, "dr_config_device")) &&
                !(is_of_pipeline(s->name) && calls(text, "dr_setup_pipeline")))
                fail_msg("the row of the setting %s names the command %s, which does not read it", s->name,
                         commands[c].name);
        }
        free(text);
    }
    assert_int_equal(known, DR_FOR_ALL);
    free(all);
}

/* An option of each kind, with another value than its default. */
static void what_is_set_is_what_the_device_is_asked_for(void **state)
{
    dr_device_options device;
    dr_config config;
    (void)state;

    assert_int_equal(read_config(&config,
                                 "device = cuda:1\ndevice_memory_mib = 7\nisa = sm_80\nstorage = bf16\n"
                                 "attention = cudnn\nfp8 = all\nfast = true\nthreads = 3\n",
                                 NULL),
                     DR_OK);
    device = dr_config_device(&config);
    assert_string_equal(device.name, "cuda:1");
    assert_int_equal(device.memory_max, 7 << 20);
    assert_string_equal(device.isa, "sm_80");
    assert_string_equal(device.storage, "bf16");
    assert_string_equal(device.convolutions, "own"); /* the default */
    assert_string_equal(device.attention, "cudnn");
    assert_string_equal(device.fp8, "all");
    assert_true(device.fast);
    assert_int_equal(device.threads, 3);
    dr_config_close(&config);
}

/* Kubernetes tells every pod of every Service of its namespace, whatever it is called. */
static void services_of_kubernetes_are_no_settings(void **state)
{
    static char *const made[] = {
        "DARKROOM_SERVICE_HOST=10.0.0.1",
        "DARKROOM_SERVICE_PORT=9464",
        "DARKROOM_SERVICE_PORT_METRICS=9464",
        "DARKROOM_PORT=tcp://10.0.0.1:9464",
        "DARKROOM_PORT_9464_TCP=tcp://10.0.0.1:9464",
        "DARKROOM_PORT_9464_TCP_PROTO=tcp",
        "DARKROOM_PORT_9464_TCP_PORT=9464",
        "DARKROOM_PORT_9464_TCP_ADDR=10.0.0.1",
        "DARKROOM_ANYTHING_2_SERVICE_HOST=fd00::7",
        "DARKROOM_ANYTHING_2_SERVICE_PORT=53",
        "DARKROOM_ANYTHING_2_SERVICE_PORT_DNS_TCP=53",
        "DARKROOM_ANYTHING_2_PORT=udp://[fd00::7]:53",
        "DARKROOM_ANYTHING_2_PORT_53_UDP=udp://[fd00::7]:53",
        "DARKROOM_ANYTHING_2_PORT_53_UDP_PROTO=udp",
        "DARKROOM_ANYTHING_2_PORT_53_UDP_PORT=53",
        "DARKROOM_ANYTHING_2_PORT_53_UDP_ADDR=fd00::7",
        /* Of the Services darkroom-kafka and darkroom-http, whose names begin like settings. */
        "DARKROOM_KAFKA_SERVICE_HOST=10.0.0.9",
        "DARKROOM_KAFKA_PORT=tcp://10.0.0.9:9092",
        "DARKROOM_KAFKA_PORT_9092_TCP_ADDR=10.0.0.9",
        "DARKROOM_HTTP_PORT_80_SCTP=sctp://10.0.0.9:80",
        "DARKROOM_HTTP_PORT_80_SCTP_PROTO=sctp",
        "DARKROOM_HTTP_PORT_80_SCTP_PORT=80",
        NULL,
    };
    dr_config config;

    (void)state;
    assert_int_equal(dr_config_open(&config, NULL), DR_OK);
    assert_int_equal(dr_config_read_environment(&config, made, NULL), DR_OK);
    assert_int_equal(config.kafka_count, 0);
    dr_config_close(&config);
}

static void what_only_looks_like_a_service_is_a_mistake(void **state)
{
    static char *const wrong[] = {
        "DARKROOM_PORT=9464",
        "DARKROOM_HTTP_PORT=9464",
        "DARKROOM_HTTP_PORT=:9464",
        "DARKROOM_HTTP_PORT=tcp://somewhere:9464",
        "DARKROOM_HTTP_PORT=http://10.0.0.1:9464",
        "DARKROOM_HTTP_PORT=tcp://10.0.0.1",
        "DARKROOM_HTTP_PORT=tcp://10.0.0.1:0",
        "DARKROOM_SERVICE_HOST=kafka.example.org",
        "DARKROOM_BROKERS_SERVICE_HOST=",
        "DARKROOM_SERVICE_PORT=http",
        "DARKROOM_SERVICE_ACCOUNT=10.0.0.1",
        "DARKROOM_PORT_9464_TCP_PROTO=http",
        "DARKROOM_PORT_9464_TCP_ADDR=9464",
        "DARKROOM_THREAD=3",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *environment[] = { wrong[i], NULL };
        dr_config config;
        dr_error err = { 0 };

        assert_int_equal(dr_config_open(&config, NULL), DR_OK);
        if (dr_config_read_environment(&config, environment, &err) != DR_EINVAL)
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(strncmp(err.text, "DARKROOM_", 9), 0);
        dr_config_close(&config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_wins),
        cmocka_unit_test(what_is_set_is_what_the_device_is_asked_for),
        cmocka_unit_test(services_of_kubernetes_are_no_settings),
        cmocka_unit_test(what_only_looks_like_a_service_is_a_mistake),
        cmocka_unit_test(files_are_flat),
        cmocka_unit_test(a_bad_file_says_where),
        cmocka_unit_test(values_are_taken_whole),
        cmocka_unit_test(no_line_goes_on_in_the_next),
        cmocka_unit_test(a_long_line_is_read_or_refused),
        cmocka_unit_test(encodings_of_others_are_read),
        cmocka_unit_test(a_bad_line_is_not_repeated),
        cmocka_unit_test(secrets_stand_in_files),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(variables_are_checked),
        cmocka_unit_test(every_row_holds),
        cmocka_unit_test(every_row_reaches_its_commands),
    };
    return cmocka_run_group_tests_name("config", tests, begin, end);
}
