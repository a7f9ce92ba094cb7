/* pictures.h - complete pictures, prompts to pixels, as a batch of compatible jobs. */
#ifndef DR_BENCH_PICTURES_H
#define DR_BENCH_PICTURES_H

#include "bench/bench.h"

typedef struct bench_pictures {
    dr_model *model;
    int count; /* 1 .. DR_SAMPLES_MAX: each its own seed, and one of eight prompts */
    int side;  /* pixels */
    int steps; /* of DDIM */
    float guidance_scale;
} bench_pictures;

dr_run *bench_pictures_open(const bench_pictures *p);

/* Adds them, to the last step, decodes all of them, until the pixels are here; gives their checksum. */
uint64_t bench_pictures_draw(const bench_pictures *p, dr_run *run);

/* Batch after batch as a worker draws them: the next one's samples join, and step, while the pictures of the one before are
 * decoded, and they are taken when they are there. */
void bench_pictures_stream(const bench_pictures *p, dr_run *run, int batches);

#endif
