#include "worker/kafka/kafka_settings.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FOR(role) (1u << (role))
#define MEMBERS FOR(DR_KAFKA_GROUP_CONSUMER)
#define CONSUMERS (FOR(DR_KAFKA_GROUP_CONSUMER) | FOR(DR_KAFKA_READER))
#define PRODUCERS (FOR(DR_KAFKA_TRANSACTIONAL) | FOR(DR_KAFKA_IDEMPOTENT))
#define EVERYBODY (CONSUMERS | PRODUCERS)

static const char offsets_are_ours[] = "offsets are committed with the results";
static const char jobs_stay[] = "the worker would pass over jobs that are not done";

const dr_kafka_preset dr_kafka_presets[] = {
    { CONSUMERS, "enable.auto.commit", "false", .why = offsets_are_ours },
    { CONSUMERS, "enable.auto.offset.store", "false", .why = offsets_are_ours },
    { CONSUMERS, "isolation.level", "read_committed",
      .why = "the worker must not see aborted jobs and results" },
    { CONSUMERS, "enable.partition.eof", "true",
      .why = "the worker has to know the end of a partition, to commit the markers there" },
    { MEMBERS, "partition.assignment.strategy", "range",
      .why = "librdkafka before 2.6 loses its place with the incremental protocol" },
    { PRODUCERS, "enable.idempotence", "true", .why = "a retry would send messages double" },
    { PRODUCERS, "acks", "all", .why = "a message must survive its broker" },
    /* The broker decides what is too large, not the client. */
    { PRODUCERS, "message.max.bytes", "100000000", .why = NULL },
    /* Two results, each small enough, must not make one batch that is too large. */
    { PRODUCERS, "batch.size", "65536", .why = NULL },
    /* A group without a commit has to do the jobs that are there already. */
    { CONSUMERS, "auto.offset.reset", "earliest", .why = jobs_stay },
    /* A pod has this long to come back to its partitions.  The jobs of a dead pod wait as long. */
    { MEMBERS, "session.timeout.ms", "30000", .why = NULL },
    /* Only this worker can do the jobs that it has fetched.  It fetches few, so that others get their
     * share. */
    { MEMBERS, "queued.min.messages", "16", .why = NULL },
    /* For each partition, since each has a queue of its own.  A small job takes three times its bytes once
     * it is fetched: with fetches of 8 MiB, a backlog of small jobs took more than 20 MiB for each
     * partition. */
    { MEMBERS, "queued.max.messages.kbytes", "1024", .why = NULL },
    { MEMBERS, "max.partition.fetch.bytes", "65536", .why = NULL },
    { CONSUMERS, "fetch.wait.max.ms", "250", .why = NULL },
    { CONSUMERS, "fetch.error.backoff.ms", "100", .why = NULL },
    /* The default of one second is too long for a small prefetch: the worker would run out of jobs. */
    { CONSUMERS, "fetch.queue.backoff.ms", "10", .since_newest = true },
    { CONSUMERS, "statistics.interval.ms", "5000", .why = NULL },
    { FOR(DR_KAFKA_READER), "max.partition.fetch.bytes", "8388608", .why = NULL },
    /* The publisher hands over several results at once, so nothing is gained by waiting for more. */
    { PRODUCERS, "linger.ms", "0", .why = NULL },
    { EVERYBODY, "socket.nagle.disable", "true", .why = NULL },
    /* After a worker dies, the readers of its results wait at most this long.  Nothing but publishing
     * happens in a transaction. */
    { FOR(DR_KAFKA_TRANSACTIONAL), "transaction.timeout.ms", "15000", .why = NULL },
    { FOR(DR_KAFKA_TRANSACTIONAL), "message.timeout.ms", "10000", .why = NULL },
    { EVERYBODY, "log.connection.close", "false", .why = NULL },
    /* A closed connection tells that the port speaks another protocol (worker/delivery/consumer_health.c). */
    { MEMBERS, "log.connection.close", "true", .why = NULL },
    { EVERYBODY, "reconnect.backoff.max.ms", "2000", .why = NULL },
    { EVERYBODY, "allow.auto.create.topics", "false", .why = NULL },
    { EVERYBODY, "client.id", "darkroom", .why = NULL },
};
const int dr_kafka_preset_count = sizeof(dr_kafka_presets) / sizeof(dr_kafka_presets[0]);

bool dr_kafka_role_consumes(dr_kafka_role role)
{
    return FOR(role) & CONSUMERS;
}

/* --- what the user may set ------------------------------------------------------------------ */

typedef struct refusal {
    const char *key, *why;
} refusal;

static const char from_our_settings[] = "Darkroom sets it from its settings group and worker";
static const char groups_protocol[] = "the worker uses the classic group protocol, as a static member";
static const char api_only[] = "only the code of a program can set it";
static const char no_such_calls[] = "the worker never makes the calls that it applies to";
static const char old_brokers[] = "it is for old brokers, which have no transactions";
static const char for_tests[] = "it is for librdkafka's own tests";
static const char fixed_order[] = "idempotent producers keep the order of their messages";

static const refusal refused[] = {
    { "group.id", from_our_settings },
    { "group.instance.id", from_our_settings },
    { "transactional.id", from_our_settings },
    { "group.protocol", groups_protocol },
    { "group.protocol.type", groups_protocol },
    { "group.remote.assignor", groups_protocol },
    /* Other names of the settings that are fixed above, and settings that would undo those. */
    { "request.required.acks", "a message must survive its broker" },
    { "auto.commit.enable", offsets_are_ours },
    { "auto.commit.interval.ms", offsets_are_ours },
    { "offset.store.method", offsets_are_ours },
    { "offset.store.path", offsets_are_ours },
    { "offset.store.sync.interval.ms", offsets_are_ours },
    { "delivery.report.only.error", "the worker would wait for ever for the reports of delivered messages" },
    { "enable.gapless.guarantee", "one refused message would end the producer for good" },
    { "message.send.max.retries", "message.timeout.ms says how long a message is tried" },
    { "retries", "message.timeout.ms says how long a message is tried" },
    { "max.in.flight.requests.per.connection", fixed_order },
    { "max.in.flight", fixed_order },
    { "queuing.strategy", fixed_order },
    { "msg_order_cmp", fixed_order },
    { "queue.buffering.max.messages", "a transaction has to fit into the producer's queue" },
    { "queue.buffering.max.kbytes", "a transaction has to fit into the producer's queue" },
    { "receive.message.max.bytes", "larger answers of the broker would never be read" },
    { "topic.blacklist", "the topics in it are never read or written" },
    { "test.mock.num.brokers", "it replaces your broker with a made up one" },
    { "test.mock.broker.rtt", for_tests },
    { "enable.sparse.connections", for_tests },
    { "metadata.request.timeout.ms", for_tests },
    { "plugin.library.paths", "code that the worker does not know could change what is delivered" },
    { "interceptors", "code that the worker does not know could change what is delivered" },
    { "internal.termination.signal", "the worker handles signals itself" },
    { "enabled_events", "the worker receives events by callbacks" },
    { "log.queue", "the worker receives the log by a callback" },
    { "enable_sasl_queue", "the worker receives events by callbacks" },
    { "builtin.features", "it only tells which features librdkafka has" },
    { "api.version.request", old_brokers },
    { "api.version.fallback.ms", old_brokers },
    { "broker.version.fallback", old_brokers },
    { "consume.callback.max.messages", no_such_calls },
    { "max.poll.records", no_such_calls },
    { "share.acknowledgement.mode", no_such_calls },
    { "consume_cb", api_only },
    { "rebalance_cb", api_only },
    { "offset_commit_cb", api_only },
    { "error_cb", api_only },
    { "throttle_cb", api_only },
    { "stats_cb", api_only },
    { "log_cb", api_only },
    { "background_event_cb", api_only },
    { "socket_cb", api_only },
    { "connect_cb", api_only },
    { "closesocket_cb", api_only },
    { "open_cb", api_only },
    { "resolve_cb", api_only },
    { "dr_cb", api_only },
    { "dr_msg_cb", api_only },
    { "partitioner_cb", api_only },
    { "oauthbearer_token_refresh_cb", api_only },
    { "ssl.certificate.verify_cb", api_only },
    { "ssl_engine_callback_data", api_only },
    { "ssl_key", api_only },
    { "ssl_certificate", api_only },
    { "ssl_ca", api_only },
    { "opaque", api_only },
    { "default_topic_conf", api_only },
};

typedef struct bound {
    const char *key;
    long min, max;
    const char *why;
} bound;

static const char brokers_patience[] =
    "brokers have these limits, and outside of them a worker could lose its place in its group";
static const char dead_worker[] =
    "after a worker dies, its jobs and the readers of its results wait this long";
static const char room_for_one[] = "one job has to fit, and fetched jobs take memory";
static const char waits_as_long[] = "somebody waits this long when something fails";

static const bound bounded[] = {
    { "session.timeout.ms", 1000, 1800000, dead_worker },
    { "heartbeat.interval.ms", 100, 60000, brokers_patience },
    { "max.poll.interval.ms", 60000, 86400000, brokers_patience },
    { "coordinator.query.interval.ms", 1000, 3600000, waits_as_long },
    { "transaction.timeout.ms", 3000, 900000, dead_worker },
    { "message.timeout.ms", 1000, 900000, waits_as_long },
    { "delivery.timeout.ms", 1000, 900000, waits_as_long },
    { "request.timeout.ms", 1000, 900000, waits_as_long },
    { "socket.timeout.ms", 1000, 300000, waits_as_long },
    { "socket.connection.setup.timeout.ms", 1000, 300000, waits_as_long },
    { "api.version.request.timeout.ms", 1000, 300000, waits_as_long },
    { "reconnect.backoff.ms", 0, 60000, waits_as_long },
    { "reconnect.backoff.max.ms", 0, 300000, waits_as_long },
    { "retry.backoff.ms", 1, 10000, waits_as_long },
    { "retry.backoff.max.ms", 1, 60000, waits_as_long },
    { "linger.ms", 0, 1000, waits_as_long },
    { "queue.buffering.max.ms", 0, 1000, waits_as_long },
    { "topic.metadata.refresh.interval.ms", 1000, 3600000, "a topic that is created later has to be found" },
    { "metadata.max.age.ms", 1000, 86400000, "a topic that is made later has to be found" },
    { "statistics.interval.ms", 1000, 60000, "/readyz and /metrics get their facts from the statistics" },
    { "message.max.bytes", 4096, 1000000000, "a failed result has to fit" },
    { "batch.size", 1024, 1000000, "a batch has to fit into what a topic accepts" },
    { "queued.min.messages", 1, 10000, room_for_one },
    { "queued.max.messages.kbytes", 1024, 2097151, room_for_one },
    { "fetch.message.max.bytes", 1024, 100000000, room_for_one },
    { "max.partition.fetch.bytes", 1024, 100000000, room_for_one },
    { "fetch.max.bytes", 1048576, 100000000, room_for_one },
    { "fetch.min.bytes", 1, 1048576, waits_as_long },
    { "fetch.wait.max.ms", 1, 10000, waits_as_long },
    { "fetch.error.backoff.ms", 0, 60000, waits_as_long },
    { "fetch.queue.backoff.ms", 0, 1000, waits_as_long },
};

/* Nothing that is delivered depends on these. */
static const char *const allowed[] = {
    /* where */
    "bootstrap.servers",
    "metadata.broker.list",
    "client.dns.lookup",
    "broker.address.ttl",
    "broker.address.family",
    "client.rack",
    "metadata.recovery.strategy",
    "metadata.recovery.rebootstrap.trigger.ms",
    /* who */
    "client.id",
    "client.software.name",
    "client.software.version",
    "security.protocol",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.ca.certificate.stores",
    "https.ca.location",
    "https.ca.pem",
    "ssl.crl.location",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.engine.location",
    "ssl.engine.id",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
    "sasl.mechanisms",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.kerberos.service.name",
    "sasl.kerberos.principal",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.keytab",
    "sasl.kerberos.min.time.before.relogin",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.metadata.authentication.type",
    /* sockets and patience */
    "socket.blocking.max.ms",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.max.fails",
    "connections.max.idle.ms",
    "reconnect.backoff.jitter.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.sparse",
    "topic.metadata.propagation.max.ms",
    "allow.auto.create.topics",
    "check.crcs",
    /* what is sent, and how small */
    "compression.codec",
    "compression.type",
    "compression.level",
    "batch.num.messages",
    "message.copy.max.bytes",
    "partitioner",
    "sticky.partitioning.linger.ms",
    "queue.buffering.backpressure.threshold",
    "produce.offset.report",
    /* what is told */
    "debug",
    "log_level",
    "log.thread.name",
    "log.connection.close",
    "enable.metrics.push",
    "enable.random.seed",
};

static const dr_kafka_preset *fixed(const char *key)
{
    for (int i = 0; i < dr_kafka_preset_count; i++)
        if (dr_kafka_presets[i].why && strcmp(key, dr_kafka_presets[i].key) == 0)
            return &dr_kafka_presets[i];
    return NULL;
}

static const refusal *find_refused(const char *key)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (strcmp(key, refused[i].key) == 0)
            return &refused[i];
    return NULL;
}

static const bound *find_bounded(const char *key)
{
    for (size_t i = 0; i < sizeof(bounded) / sizeof(bounded[0]); i++)
        if (strcmp(key, bounded[i].key) == 0)
            return &bounded[i];
    return NULL;
}

static bool is_allowed(const char *key)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        if (strcmp(key, allowed[i]) == 0)
            return true;
    return false;
}

bool dr_kafka_setting_known(const char *key)
{
    return fixed(key) || find_refused(key) || find_bounded(key) || is_allowed(key);
}

bool dr_kafka_setting_bounds(const char *key, long *min, long *max)
{
    const bound *b = find_bounded(key);

    if (b) {
        *min = b->min;
        *max = b->max;
    }
    return b != NULL;
}

static dr_status check_bound(const bound *b, const char *value, dr_error *err)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(value, &end, 10);
    if (end == value || *end || errno)
        return DR_OK; /* not a number: librdkafka reports that */
    if (number < b->min || number > b->max)
        return dr_fail(err, DR_EINVAL, "kafka.%s: %s is not within %ld..%ld: %s", b->key, value, b->min,
                       b->max, b->why);
    return DR_OK;
}

dr_status dr_kafka_setting_check(const char *key, const char *value, dr_error *err)
{
    const dr_kafka_preset *preset = fixed(key);
    const refusal *no = find_refused(key);
    const bound *b = find_bounded(key);

    if (preset && strcmp(value, preset->value) != 0)
        return dr_fail(err, DR_EINVAL, "kafka.%s: must be %s: %s", key, preset->value, preset->why);
    if (no)
        return dr_fail(err, DR_EINVAL, "kafka.%s: may not be set: %s", key, no->why);
    if (b)
        return check_bound(b, value, err);
    if (!preset && !is_allowed(key))
        return dr_fail(err, DR_EINVAL, "kafka.%s: Darkroom knows no setting of librdkafka with this name",
                       key);
    return DR_OK;
}
