/* progress.h - how far a long command is: a bar on a terminal, a line now and then elsewhere. */
#ifndef DR_WORKER_RENDER_PROGRESS_H
#define DR_WORKER_RENDER_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_progress_state {
    long done, failed, skipped; /* jobs */
    long total;                 /* of them; 0: not known */
    long pictures;              /* made since the start */
    double seconds;             /* since the start */
    int step, steps;            /* of the batch that runs; steps 0: none does */
    double under_way;           /* jobs of it, each as far as its steps are */
} dr_progress_state;

typedef struct dr_progress_bar {
    bool terminal;
    double next_s; /* nothing is said before */
} dr_progress_bar;

/* stderr is asked whether it is a terminal. */
void dr_progress_bar_open(dr_progress_bar *bar);
/* Says something where it is time to; call it often. */
void dr_progress_bar_show(dr_progress_bar *bar, const dr_progress_state *state);
/* Takes the bar off the terminal, so that a line can be printed. */
void dr_progress_bar_clear(dr_progress_bar *bar);

/* "3.4 pictures/s", or "98 s/picture" where it takes more than 2 s. */
void dr_progress_rate(char *text, size_t size, long pictures, double seconds);

/* "[=====>    ] 120/200, step 7/30, 3.4 pictures/s, 0:24 left, 2 failed"; without `bar` no bar.  Apart for tests. */
void dr_progress_text(char *text, size_t size, bool bar, const dr_progress_state *state);

#endif
