#include "worker/kafka/guarantee.h"

#include "base/error.h"

const char *dr_delivery_name(int delivery)
{
    static const char *const names[] = { "exactly_once", "at_least_once" };

    dr_assert(delivery >= 0 && delivery < DR_DELIVERIES);
    return names[delivery];
}
