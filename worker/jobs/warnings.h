/* warnings.h - what a job asks for that is not done as its author may mean it.  The job runs all the same; its result and
 * the log say so.
 *
 *     prompt: 93 tokens, of which the model reads the first 75
 *     prompt: weights like (word:1.3) are not supported, and read as text
 *
 * Prompts themselves are in no warning: they are not logged. */
#ifndef DR_WORKER_JOBS_WARNINGS_H
#define DR_WORKER_JOBS_WARNINGS_H

#include <stddef.h>

enum {
    DR_WARNINGS_MAX = 8,        /* of a job: each of what is not supported, for both prompts */
    DR_WARNING_BYTES_MAX = 128, /* of one, with its 0 */
};

typedef struct dr_warnings {
    int count;
    char text[DR_WARNINGS_MAX][DR_WARNING_BYTES_MAX];
} dr_warnings;

/* Adds those of one prompt.  field: its name in a job; tokens: how many it has. */
void dr_warnings_of_prompt(dr_warnings *warnings, const char *field, const char *text, size_t bytes,
                           int tokens);

#endif
