/* exit_codes.h - what the program returns: a row for each code.  --help and docs/reference.md are made
 * from the rows. */
#ifndef DR_WORKER_PROGRAM_EXIT_CODES_H
#define DR_WORKER_PROGRAM_EXIT_CODES_H

#include <stdio.h>

/* name, code, which commands return it ("": all), meaning, whether to start the program again */
#define DR_EXIT_CODES(X)                                                                                  \
    X(DONE, 0, "", "Done", "as you like")                                                                 \
    X(FAILED, 1, "", "Something failed: a job, or the program could not go on. The last line says what",  \
      "yes")                                                                                              \
    X(USAGE, 2, "", "Wrong usage, settings or files. Nothing was done", "no: it will say the same again") \
    X(LOCKED_OUT, 3, "worker", "Another worker runs under this name, or the broker refuses this one",     \
      "yes; if it says so again, look who has its name")                                                  \
    X(NOT_DRAINED, 4, "worker", "Ended before all its jobs were committed", "yes; nothing is lost")       \
    X(DEVICE, 5, "worker, render, demo",                                                                  \
      "Device lost or not there. Another worker or the next run does the rest",                           \
      "yes; if it says so again, on another machine")                                                     \
    X(INTERRUPTED, 6, "render, collect", "Interrupted. What is done is kept",                             \
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

/* Print a line for each code that a command returns, as --help has them.  command NULL: all codes. */
void dr_exit_codes_print(FILE *to, const char *command);

#endif
