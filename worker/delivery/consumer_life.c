/* consumer_life.c - the consumer without its thread and clients: created, released; whether it is to end. */
#include "worker/delivery/consumer_parts.h"
#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

dr_status dr_consumer_create(dr_consumer **out, const dr_consumer_options *options, dr_error *err)
{
    dr_consumer *c = calloc(1, sizeof(*c));
    dr_status rc;

    *out = NULL;
    if (!c)
        return dr_fail(err, DR_ENOMEM, "consumer: no memory");
    pthread_mutex_init(&c->lock, NULL);
    c->references = 1;
    c->polled_ms = dr_clock_ms();
    c->books = options->books;
    c->slot = strdup(options->slot);
    c->endings = dr_endings_create();
    rc = c->slot && c->endings ? dr_kafka_options_copy(&c->kafka, &options->kafka, err)
                               : dr_fail(err, DR_ENOMEM, "consumer: no memory");
    if (rc)
        dr_consumer_release(c);
    else
        *out = c;
    return rc;
}

void dr_consumer_release(dr_consumer *c)
{
    bool last;

    pthread_mutex_lock(&c->lock);
    dr_assert(c->references > 0);
    last = --c->references == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    dr_endings_wait(c->endings);
    pthread_mutex_destroy(&c->lock);
    dr_kafka_options_free(&c->kafka);
    free(c->slot);
    free(c);
}

bool dr_consumer_is_closing(dr_consumer *c)
{
    bool yes;

    pthread_mutex_lock(&c->lock);
    yes = c->closing;
    c->polled_ms = dr_clock_ms();
    pthread_mutex_unlock(&c->lock);
    return yes;
}
