#include "worker/kafka/mock_broker.h"

#include "worker/kafka/kafka.h"

#include <stdlib.h>
#include <time.h>

struct dr_mock_broker {
    rd_kafka_t *rk; /* lends the cluster its threads */
    rd_kafka_mock_cluster_t *cluster;
};

dr_status dr_mock_broker_open(dr_mock_broker **out, int brokers, dr_error *err)
{
    static const dr_kafka_options none = { 0 };
    dr_mock_broker *b = calloc(1, sizeof(*b));
    rd_kafka_conf_t *conf;
    dr_status rc;

    *out = NULL;
    if (!b)
        return dr_fail(err, DR_ENOMEM, "mock broker: no memory");
    rc = dr_kafka_conf(&conf, DR_KAFKA_IDEMPOTENT, &none, err);
    if (!rc)
        rc = dr_kafka_create(&b->rk, RD_KAFKA_PRODUCER, conf, err);
    if (!rc) {
        b->cluster = rd_kafka_mock_cluster_new(b->rk, brokers);
        if (!b->cluster)
            rc = dr_fail(err, DR_EIO, "mock broker: could not start");
    }
    if (rc)
        dr_mock_broker_close(b);
    else
        *out = b;
    return rc;
}

/* A request that reaches the mock's thread just after another one loses its wake-up there (librdkafka
 * 2.0.2), and then waits for up to a second.  So let that thread go back to its poll() first. */
static void let_it_wait(void)
{
    const struct timespec moment = { .tv_nsec = 3000000 };

    nanosleep(&moment, NULL);
}

dr_status dr_mock_broker_topic(dr_mock_broker *b, const char *name, int partitions, dr_error *err)
{
    let_it_wait();
    const rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(b->cluster, name, partitions, 1);

    if (code)
        return dr_fail(err, DR_EINVAL, "mock broker: topic %s: %s", name, rd_kafka_err2str(code));
    return DR_OK;
}

const char *dr_mock_broker_bootstrap(const dr_mock_broker *b)
{
    return rd_kafka_mock_cluster_bootstraps(b->cluster);
}

rd_kafka_mock_cluster_t *dr_mock_broker_cluster(dr_mock_broker *b)
{
    return b->cluster;
}

void dr_mock_broker_close(dr_mock_broker *b)
{
    if (!b)
        return;
    if (b->cluster)
        rd_kafka_mock_cluster_destroy(b->cluster);
    if (b->rk)
        rd_kafka_destroy(b->rk);
    free(b);
}
