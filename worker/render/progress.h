/* progress.h - how far a render is: a bar on a terminal, and elsewhere a line every ten seconds.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_PROGRESS_H
#define DR_WORKER_RENDER_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_progress_state {
    long done, failed, skipped; /* jobs */
    long total;                 /* jobs; 0: not known */
    long pictures;              /* drawn since the start */
    double seconds;             /* since the start */
    int step, steps;            /* of the batch that runs; steps is 0 where none runs */
    double under_way;           /* jobs of that batch, times the part of its steps that is done */
} dr_progress_state;

typedef struct dr_progress_bar {
    bool terminal;
    double next_s; /* nothing is said before */
} dr_progress_bar;

/* The bar stands on stderr, if that is a terminal. */
void dr_progress_bar_open(dr_progress_bar *bar);
/* Print the bar or the line, if it is time to.  To be called often. */
void dr_progress_bar_show(dr_progress_bar *bar, const dr_progress_state *state);
/* Take the bar off the terminal, so that a line can be printed. */
void dr_progress_bar_clear(dr_progress_bar *bar);

/* "3.4 pictures/s", or "98 s/picture" where it takes more than 2 s. */
void dr_progress_rate(char *text, size_t size, long pictures, double seconds);

/* "[=====>    ] 120/200, step 7/30, 3.4 pictures/s, 0:24 left, 2 failed", or without `bar` the same
 * without the bar. */
void dr_progress_text(char *text, size_t size, bool bar, const dr_progress_state *state);

#endif
