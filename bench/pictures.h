/* pictures.h - draws complete pictures, from prompts to pixels, as a batch of compatible jobs. */
#ifndef DR_BENCH_PICTURES_H
#define DR_BENCH_PICTURES_H

#include "bench/bench.h"

typedef struct bench_pictures {
    dr_model *model;
    int count; /* 1 to DR_SAMPLES_MAX; each has a seed of its own and one of eight prompts */
    int side;  /* pixels */
    int steps; /* of DDIM */
    float guidance_scale;
} bench_pictures;

/* Open a run for these pictures; end it with dr_run_close(). */
dr_run *bench_pictures_open(const bench_pictures *p);

/* Draw one batch until all pixels are in host memory.  Returns their checksum. */
uint64_t bench_pictures_draw(const bench_pictures *p, dr_run *run);

/* Draw batch after batch, as a worker does: the samples of the next batch join and step while the pictures
 * of the batch before are decoded. */
void bench_pictures_stream(const bench_pictures *p, dr_run *run, int batches);

#endif
