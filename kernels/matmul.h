/* matmul.h - the inner loops of every matrix product and convolution on the CPU.
 *
 *     c[r, j] = sum over taps t, channels k of  a[r + shift_t, k] * w_t[k, j]
 *
 * A linear layer has one tap.  A convolution has a tap for each position of its window.  Its operand
 * holds the input with the padding around it.  Tap t reads the same rows at a distance of shift_t.
 *
 *     operand   [rows, in]            activations in the kernel's own form, rows at a constant stride.
 *                                     Readable up to a multiple of `tile` rows
 *     panel     [taps, in, `panel`]   weights of `panel` columns, packed; zeros after the last column
 *     c         [rows, `panel`]       float32, dense; written up to a multiple of `tile` rows
 *
 * The sum of a row runs over taps and then channels, in order.  The number of rows does not matter.  This
 * is why the bits of a picture do not depend on its batch.
 *
 * Operands, panels and c are 64-byte aligned.  Threads: any; nothing here has a state. */
#ifndef DR_KERNELS_MATMUL_H
#define DR_KERNELS_MATMUL_H

#include "kernels/elementwise.h"
#include "kernels/isa.h"

#include <stdbool.h>
#include <stddef.h>

/* One block of y: activation(c + bias + row_bias) + residual. */
typedef struct dr_matmul_finish {
    const float *bias;     /* [columns] */
    const float *row_bias; /* [columns] or NULL */
    const float *residual; /* [rows, columns], residual_ld from row to row; NULL: none; may be y */
    size_t residual_ld;
    float *y;
    size_t y_ld;
    dr_unary_loop *activation; /* or NULL */
    bool stream;               /* y is larger than the caches: write it around them */
} dr_matmul_finish;

typedef struct dr_matmul_kernels {
    int panel; /* columns of a panel */
    int tile;  /* rows are computed in multiples of it */

    size_t (*operand_stride)(int in); /* bytes from one row of an operand to the next */
    size_t (*panel_bytes)(int in);    /* bytes of one tap of a panel */

    /* Write rows of x, `ld` floats apart, into an operand. */
    void (*load)(void *operand, const float *x, size_t ld, int rows, int in);

    /* Write one tap of a panel.  The weight of column j < columns and channel k is w[j * out_stride + k *
     * in_stride]. */
    void (*pack)(void *to, const float *w, size_t out_stride, size_t in_stride, int columns, int in);

    /* c = the product, or c + the product with `accumulate`.  shift[t] is in bytes. */
    void (*multiply)(float *c, const void *operand, const ptrdiff_t *shift, int taps, const void *panel,
                     int in, int rows, bool accumulate);

    /* Compute y from c, which is overwritten. */
    void (*finish)(const dr_matmul_finish *f, float *c, int rows, int columns);

    /* Order the writes around the caches.  If a thread is told after this call that y is there, it sees
     * all of y. */
    void (*settle)(void);
} dr_matmul_kernels;

DR_EACH_ISA(dr_matmul_kernels);
extern const dr_matmul_kernels dr_matmul_kernels_amx;

#endif
