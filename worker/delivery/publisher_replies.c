#include "worker/delivery/publisher_replies.h"

#include <stdio.h>
#include <string.h>

static int place_of(const dr_publisher_replies *t, const char *topic)
{
    int oldest = 0;

    for (int i = 0; i < DR_PUBLISHER_REPLIES_MAX; i++) {
        if (strcmp(t->place[i].topic, topic) == 0)
            return i;
        if (t->place[i].nag.next_ms < t->place[oldest].nag.next_ms)
            oldest = i;
    }
    return oldest;
}

bool dr_publisher_replies_count(dr_publisher_replies *t, const char *topic, unsigned *results)
{
    const int at = place_of(t, topic);

    if (strcmp(t->place[at].topic, topic) != 0) {
        t->place[at].nag = (dr_kafka_nag){ 0 };
        t->place[at].results = 0;
        snprintf(t->place[at].topic, sizeof(t->place[at].topic), "%s", topic);
    }
    *results = ++t->place[at].results;
    if (!dr_kafka_nag_due(&t->place[at].nag))
        return false;
    t->place[at].results = 0;
    return true;
}
