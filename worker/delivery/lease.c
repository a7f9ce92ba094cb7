#include "worker/delivery/lease.h"

#include "base/error.h"

#include <pthread.h>
#include <stdlib.h>

struct dr_member {
    rd_kafka_t *rk;
    pthread_mutex_t lock; /* of leases */
    pthread_cond_t changed;
    int leases; /* that hold it */
};

dr_member *dr_member_create(rd_kafka_t *rk)
{
    dr_member *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->rk = rk;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    return m;
}

rd_kafka_t *dr_member_client(const dr_member *m)
{
    return m->rk;
}

static void change_leases(dr_member *m, int by)
{
    pthread_mutex_lock(&m->lock);
    m->leases += by;
    dr_assert(m->leases >= 0);
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

void dr_member_end(dr_member *m, int flags)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    while (m->leases > 0)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    rd_kafka_destroy_flags(m->rk, flags);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

dr_lease *dr_lease_create(dr_member *member)
{
    dr_lease *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->references = 1;
    l->group = rd_kafka_consumer_group_metadata(member->rk);
    if (!l->group) {
        free(l);
        return NULL;
    }
    l->member = member;
    change_leases(member, 1);
    return l;
}

void dr_lease_hold(dr_lease *l)
{
    dr_assert(l->references > 0);
    l->references++;
}

void dr_lease_release(dr_lease *l)
{
    if (!l)
        return;
    dr_assert(l->references > 0);
    if (--l->references > 0)
        return;
    rd_kafka_consumer_group_metadata_destroy(l->group);
    change_leases(l->member, -1);
    free(l);
}
