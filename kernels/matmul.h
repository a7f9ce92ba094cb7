/* matmul.h - the inner loops of every matrix product and convolution on the CPU.
 *
 *     c[r, j] = sum over taps t, channels k of  a[r + shift_t, k] * w_t[k, j]
 *
 * A linear layer has one tap.  A convolution has one for each weight of its window: its input lies in
 * an operand with the padding around it, so that tap t reads the same rows, shifted.
 *
 *     operand   [rows, in]            activations in the form the kernel wants, rows at a constant
 *                                     stride.  Readable up to a multiple of `tile` rows.
 *     panel     [taps, in, `panel`]   weights of `panel` columns, packed; zeros beyond the last column
 *     c         [rows, `panel`]       float32, dense; rows up to a multiple of `tile` are written
 *
 * A row's sums run over taps, then channels, in order, whatever the number of rows: that, and
 * nothing else, is why a picture's bits do not depend on its batch.
 *
 * Pure functions; operands, panels and c are 64-byte aligned. */
#ifndef DR_KERNELS_MATMUL_H
#define DR_KERNELS_MATMUL_H

#include "kernels/elementwise.h"
#include "kernels/isa.h"

#include <stdbool.h>
#include <stddef.h>

/* c plus biases, through the activation, plus the residual: one block of y. */
typedef struct dr_matmul_finish {
    const float *bias;     /* [columns] */
    const float *row_bias; /* [columns] or NULL */
    const float *residual; /* or NULL; may be y */
    size_t residual_ld;
    float *y;
    size_t y_ld;
    dr_unary_loop *activation; /* or NULL */
    bool stream;               /* y is larger than the caches: write it past them */
} dr_matmul_finish;

typedef struct dr_matmul_kernels {
    int panel; /* columns of a panel */
    int tile;  /* rows are computed in multiples of it */

    /* Bytes from one row of an operand to the next; bytes of one tap of a panel. */
    size_t (*operand_stride)(int in);
    size_t (*panel_bytes)(int in);

    /* Rows of x, `ld` floats apart, into an operand. */
    void (*load)(void *operand, const float *x, size_t ld, int rows, int in);

    /* One tap of a panel: column j, channel k is w[j * out_stride + k * in_stride]; j < columns <= panel. */
    void (*pack)(void *to, const float *w, size_t out_stride, size_t in_stride, int columns, int in);

    /* shift[t] is in bytes.  `accumulate`: added to what c holds. */
    void (*multiply)(float *c, const void *operand, const ptrdiff_t *shift, int taps, const void *panel,
                     int in, int rows, bool accumulate);

    /* Overwrites c. */
    void (*finish)(const dr_matmul_finish *f, float *c, int rows, int columns);

    /* What was written past the caches is seen by nobody's order: after this, by whoever is told that it is there. */
    void (*settle)(void);
} dr_matmul_kernels;

DR_EACH_ISA(dr_matmul_kernels);
extern const dr_matmul_kernels dr_matmul_kernels_amx;

#endif
