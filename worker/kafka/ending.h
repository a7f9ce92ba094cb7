/* ending.h - clients that are ended by threads of their own.
 *
 * librdkafka 2.0.2 sometimes never ends a client whose topic was deleted: a broker's thread waits for a
 * partition that is gone.  So nobody ends a client himself: a thread does, and whoever closes waits for it
 * for 3 s.  A client that has not ended by then is left behind, with a warning.
 *
 * The threads hold what they need: dr_endings lives until the last of them is done. */
#ifndef DR_WORKER_KAFKA_ENDING_H
#define DR_WORKER_KAFKA_ENDING_H

#include <stdbool.h>

typedef struct dr_endings dr_endings;

/* The caller ends it with dr_endings_wait().  NULL without memory. */
dr_endings *dr_endings_create(void);

/* Calls end(client) on a thread of its own, and does not wait for it.  `end` ends the client and frees it.
 * False: there is no memory for a thread; the client is still the caller's.  One thread at a time. */
bool dr_endings_begin(dr_endings *e, void (*end)(void *client), void *client);

/* Waits until all of them have ended, at most 3 s, and frees e.  NULL is allowed. */
void dr_endings_wait(dr_endings *e);

#endif
