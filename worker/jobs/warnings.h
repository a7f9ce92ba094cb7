/* warnings.h - what a job asks for that is not done as its author may mean it.
 *
 * The job runs all the same.  Its result and the log say so:
 *
 *     prompt: 93 tokens, of which the model reads the first 75
 *     prompt: weights like (word:1.3) are not supported, and read as text
 *
 * A warning never quotes a prompt, because prompts are not logged. */
#ifndef DR_WORKER_JOBS_WARNINGS_H
#define DR_WORKER_JOBS_WARNINGS_H

#include <stddef.h>

enum {
    DR_WARNINGS_MAX = 8,        /* of a job: one for each thing that is not supported, in both prompts */
    DR_WARNING_BYTES_MAX = 128, /* of a warning, with its 0 */
};

typedef struct dr_warnings {
    int count;
    char text[DR_WARNINGS_MAX][DR_WARNING_BYTES_MAX];
} dr_warnings;

/* Add the warnings for one prompt.  field: its name in a job.  tokens: how many tokens the model's
 * tokenizer makes of the text; 0: unknown.  At most DR_WARNINGS_MAX / 2 are added.  Any thread. */
void dr_warnings_of_prompt(dr_warnings *warnings, const char *field, const char *text, size_t bytes,
                           int tokens);

#endif
