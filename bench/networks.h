/* networks.h - one network of a model alone, with made-up inputs: a call of the UNet, a decode, or
 * prompts.
 *
 * The UNet has `samples` latents, and row i uses latent i % samples.  With half as many samples as rows, each
 * sample has guidance.  All rows have the same prompt and timestep.  Passes are played as in a run
 * (model/passes.h), so they are recorded if the device can record. */
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
    void *in, *out, *x_row, *zeros; /* device; zeros are the rows' indices into tables, and token ids */
    size_t out_bytes;
} bench_network;

/* Prepare the passes.  The caller has set the fields of the first block and zeroed the rest.  End it with
 * bench_network_close(). */
void bench_network_open(bench_network *n);
void bench_network_close(bench_network *n);

void bench_network_start(bench_network *n);       /* begin a pass; a GPU is not done with it yet */
void bench_network_start_plain(bench_network *n); /* the same without a recording, launch by launch */
uint64_t bench_network_wait(bench_network *n);    /* wait, and return a checksum of the output */

#endif
