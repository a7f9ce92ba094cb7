/* guarantee.h - how often each answer is delivered: exactly once, or at least once. */
#ifndef DR_WORKER_KAFKA_GUARANTEE_H
#define DR_WORKER_KAFKA_GUARANTEE_H

typedef enum dr_delivery { DR_EXACTLY_ONCE, DR_AT_LEAST_ONCE, DR_DELIVERIES } dr_delivery;

/* "exactly_once" or "at_least_once", as in the settings. */
const char *dr_delivery_name(int delivery);

#endif
