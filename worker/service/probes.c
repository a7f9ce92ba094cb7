/* probes.c - what the probes answer: whether the worker is ready, healthy, or can never do another job. */
#include "worker/service/ready.h"
#include "worker/service/service_parts.h"

enum {
    POLL_AGE_MAX_MS = 60000,  /* the poll thread waits for the broker at most 5 s at a time */
    PUBLISH_MAX_MS = 1800000, /* longer is stuck in librdkafka: calls that wait for a broker return */
};

dr_status dr_service_fatal(dr_service *s, dr_error *err)
{
    dr_status rc = dr_books_fatal(s->books, err);

    if (!rc)
        rc = dr_publisher_fatal(s->publisher, err);
    return rc ? rc : dr_pipeline_lost(s->pipeline, err);
}

bool dr_service_ready(dr_service *s, dr_error *why)
{
    dr_publisher_state publisher;
    dr_consumer_state consumer;
    dr_ready_facts facts = { .draining = s->closing };

    if (dr_service_fatal(s, why))
        return false;
    dr_consumer_state_get(s->consumer, &consumer);
    dr_publisher_state_get(s->publisher, &publisher);
    facts.broker_up = consumer.broker_up;
    facts.leased = dr_books_wait_lease(s->books, 0);
    dr_consumer_reason(s->consumer, &facts.broker);
    facts.group = consumer.complaint;
    dr_service_models_missing(s, &facts.models);
    facts.coordinator_up = publisher.up;
    facts.commit = publisher.trouble;
    return dr_ready(&facts, why);
}

bool dr_service_healthy(dr_service *s, dr_error *why)
{
    dr_publisher_state publisher;
    dr_consumer_state consumer;

    if (dr_service_fatal(s, why))
        return false;
    dr_consumer_state_get(s->consumer, &consumer);
    dr_publisher_state_get(s->publisher, &publisher);
    if (consumer.poll_age_ms > POLL_AGE_MAX_MS) {
        dr_fail(why, DR_EIO, "the poll thread has shown no activity for %lld s",
                (long long)consumer.poll_age_ms / 1000);
        return false;
    }
    if (publisher.up && publisher.busy_ms > PUBLISH_MAX_MS) {
        dr_fail(why, DR_EIO, "one commit has taken %lld s", (long long)publisher.busy_ms / 1000);
        return false;
    }
    return true;
}
