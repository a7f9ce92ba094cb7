/* exit_codes.h - what the program returns: the one place.  --help and docs/reference.md are made from it. */
#ifndef DR_WORKER_PROGRAM_EXIT_CODES_H
#define DR_WORKER_PROGRAM_EXIT_CODES_H

#include <stdio.h>

/* name, code, of which command ("": all), meaning, whether to start it again */
#define DR_EXIT_CODES(X)                                                                                  \
    X(DONE, 0, "", "done", "as you like")                                                                 \
    X(FAILED, 1, "", "something failed: a job, or the program could not go on; the last line says what",  \
      "yes")                                                                                              \
    X(USAGE, 2, "", "wrong usage, settings or files: nothing was done", "no: it will say the same again") \
    X(LOCKED_OUT, 3, "worker", "another worker runs under this name, or the broker refuses this one",     \
      "yes; look who has its name if it says so again")                                                   \
    X(NOT_DRAINED, 4, "worker", "ended before everything it had taken was committed",                     \
      "yes; nothing is lost")                                                                             \
    X(DEVICE, 5, "worker, render, demo",                                                                  \
      "the device was lost, or could not be had; unfinished jobs are left to be done",                    \
      "yes; elsewhere if it says so again")                                                               \
    X(INTERRUPTED, 6, "render, collect", "interrupted: what is done is kept",                             \
      "yes; it goes on where it stopped")

enum dr_exit {
#define X(name, code, commands, meaning, again) DR_EXIT_##name = (code),
    DR_EXIT_CODES(X)
#undef X
};

typedef struct dr_exit_code {
    int code;
    const char *commands, *meaning, *again;
} dr_exit_code;

extern const dr_exit_code dr_exit_codes[];
extern const int dr_exit_code_count;

/* Those of a command, or of NULL all, a line each, as --help says them. */
void dr_exit_codes_print(FILE *to, const char *command);

#endif
