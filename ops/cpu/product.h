/* product.h - packed weights, and the loops over them that linear layers and convolutions share.
 *
 * The rows are divided into chunks that fit in a core's second-level cache, and the channels into slices
 * for the same reason:
 *
 *     for each slice of channels:
 *         load the chunk's activations of the slice as an operand     (linear.c, conv.c)
 *         for each panel of columns:
 *             c += operand x panel                                    (kernels/matmul.h)
 *             after the last slice, some panels at a time:
 *                 bias, activation, residual -> y                     (linear.c, conv.c)
 *
 * Slices depend on the layer alone, so a row's sums have the same order in every batch.  Which chunk or
 * thread computes a row changes nothing. */
#ifndef DR_OPS_CPU_PRODUCT_H
#define DR_OPS_CPU_PRODUCT_H

#include "kernels/matmul.h"
#include "ops/cpu/cpu.h"

enum { CPU_TAPS_MAX = 9 };

/* Whether an output is written past the caches (dr_matmul_finish.stream).  Measured: 64 MiB take half the
 * time that way; up to 16 MiB are better kept in the caches. */
static inline bool cpu_streams(const dr_tensor *y)
{
    return dr_tensor_pixels(y) * (size_t)y->c * sizeof(float) > (size_t)32 << 20;
}

typedef struct cpu_weights {
    const dr_matmul_kernels *kernels;
    int in, out, taps;
    int slice, slices; /* channels of a slice (the last may have fewer) */
    int panels;
    size_t bytes;
    char *packed; /* [slices, panels, taps, slice, panel] */
    float *bias;  /* [panels * panel]: zeros where there is none */
} cpu_weights;

/* Packs a weight: [out, in, taps].  w is the caller's; after a failure there is nothing to free. */
dr_status cpu_weights_pack(cpu_weights *w, const cpu_device *cpu, const char *name, int in, int out, int taps,
                           const float *weight, const float *bias, dr_error *err);
void cpu_weights_free(cpu_weights *w); /* all zeros is allowed */

/* The finished sums of some panels: all rows of a panel, then those of the next. */
typedef struct cpu_sums {
    const cpu_weights *weights;
    float *c;
    size_t panel_floats;
    int panel, panels; /* first, count */
} cpu_sums;

/* The piece of work that one thread computes at once. */
typedef struct cpu_chunk {
    int rows;                /* of c */
    int operand_rows;        /* rows of c, and those beyond that the taps reach */
    int panel, panels;       /* first, count */
    int shift[CPU_TAPS_MAX]; /* of each tap, in rows */

    /* Channels [channel, channel + channels) of the chunk's activations; all `operand_rows`. */
    void (*load)(const struct cpu_chunk *chunk, void *operand, int channel, int channels);
    void (*store)(const struct cpu_chunk *chunk, const cpu_sums *sums);
    const void *layer; /* for load and store */
    int first;         /* where the chunk lies in it */
} cpu_chunk;

/* Bytes of scratch for a chunk of that many rows and panels: a multiple of DR_ARENA_ALIGN. */
size_t cpu_chunk_bytes(const cpu_weights *w, int rows, int operand_rows, int panels);

/* Computes a chunk.  scratch: cpu_chunk_bytes() of it, this thread's. */
void cpu_chunk_run(const cpu_weights *w, const cpu_chunk *chunk, void *scratch);

/* Writes rows [row, row + rows) of sums to y, with bias, activation and residual.  The pointers of `f` are
 * those of the first row and of column 0. */
void cpu_sums_finish(const cpu_sums *sums, int row, int rows, const dr_matmul_finish *f);

/* Divides `count` rows (or lines of a map) into chunks of at most `most`.  If that gives fewer chunks than
 * threads, the panels are divided too, so that all threads have equal work. */
typedef struct cpu_split {
    int count, step, chunks; /* chunk i is [i * step, min((i + 1) * step, count)) */
    int panels, panel_step, parts;
} cpu_split;
cpu_split cpu_split_work(const cpu_device *cpu, int panels, int count, int most, int multiple);

/* Computes all chunks of a split, over the threads.  `common` has what they share.  One of the split's
 * count is unit_rows rows of c (a line of a map).  scratch: chunk_bytes for each thread. */
typedef struct cpu_chunks {
    const cpu_weights *weights;
    const cpu_split *split;
    cpu_chunk common;
    int unit_rows;
    char *scratch;
    size_t chunk_bytes;
} cpu_chunks;
void cpu_chunks_run(const cpu_device *cpu, const cpu_chunks *chunks);

/* y = activation(x W^T + b + row_bias) + residual over any number of pixels: a linear layer, or a
 * convolution of one tap.  x, y and residual may be views.  In linear.c. */
typedef struct cpu_rows {
    const cpu_weights *weights;
    dr_tensor x, y;
    const float *row_bias; /* [out] or NULL */
    dr_unary_loop *activation;
    const dr_tensor *residual; /* or NULL */
} cpu_rows;
dr_status cpu_rows_run(dr_pass *p, const cpu_rows *r);

#endif
