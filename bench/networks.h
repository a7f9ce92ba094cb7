/* networks.h - one network of a model alone, over inputs that are made up: a UNet's pass, a decode, prompts.
 *
 * The UNet's rows are those of a step: `samples` latents, and row i is of latent i % samples, so that with half as
 * many samples as rows each has its guidance.  All have the same prompt and timestep.  Through dr_passes, as a run
 * plays them: recorded where the device can (model/passes.h). */
#ifndef DR_BENCH_NETWORKS_H
#define DR_BENCH_NETWORKS_H

#include "bench/bench.h"
#include "model/model.h"
#include "model/passes.h"

typedef enum bench_network_kind {
    BENCH_UNET,
    BENCH_DECODE, /* latents to pixels */
    BENCH_TEXT,
} bench_network_kind;

typedef struct bench_network {
    bench *b;
    dr_model *model;
    bench_network_kind kind;
    int rows, samples; /* samples: UNet only */
    int side;          /* of the latents */

    dr_dtype dtype; /* of the device's activations: the UNet's input, and all output */
    dr_pass_body body;
    dr_passes passes;
    dr_unet_context context;
    float *time_table;
    void *in, *out, *x_row, *zeros; /* device; zeros are the rows' entries of tables, and ids */
    size_t out_bytes;
} bench_network;

/* `n` has the first block's fields.  Ends with bench_network_close(). */
void bench_network_open(bench_network *n);
void bench_network_close(bench_network *n);

void bench_network_start(bench_network *n);       /* a pass; on a GPU it is not yet done */
void bench_network_start_plain(bench_network *n); /* the same, never recorded: launch by launch */
uint64_t bench_network_wait(bench_network *n);    /* a checksum of the output */

#endif
