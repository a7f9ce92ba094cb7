/* tensor.h - a view of activations on a device.  All of it is plain values: any thread may use its own.
 *
 * Channels last, always:
 *
 *     pixel (n, y, x):   data + ((n * h + y) * w + x) * ld      c values follow
 *
 * A token matrix is the same with h = 1: [n, 1, tokens, c].  `ld` is c for a dense tensor.  It is more for
 * a view of some channels of a wider tensor (a third of a fused QKV).  A tensor owns nothing: its memory
 * belongs to an arena or a buffer. */
#ifndef DR_OPS_TENSOR_H
#define DR_OPS_TENSOR_H

#include "base/dtype.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dr_tensor {
    void *data;
    dr_dtype dtype;
    int n, h, w, c;
    int ld; /* elements from one pixel to the next */

    /* Names what the operator that wrote the tensor left for the group norm that reads it next
     * (dr_norm_stats in ops.h).  0: nothing.  A name that no longer holds does no harm: the norm then
     * reads the tensor itself. */
    unsigned stats;
} dr_tensor;

/* Pixels (or tokens) over all rows: the M of a matrix product. */
static inline size_t dr_tensor_pixels(const dr_tensor *t)
{
    return (size_t)t->n * (size_t)t->h * (size_t)t->w;
}

/* Channels [first, first + count) of t. */
static inline dr_tensor dr_tensor_channels(dr_tensor t, int first, int count)
{
    t.data = (char *)t.data + (size_t)first * dr_dtype_bytes(t.dtype);
    t.c = count;
    t.stats = 0;
    return t;
}

/* Rows [first, first + count) of t. */
static inline dr_tensor dr_tensor_rows(dr_tensor t, int first, int count)
{
    t.data =
        (char *)t.data + (size_t)first * (size_t)t.h * (size_t)t.w * (size_t)t.ld * dr_dtype_bytes(t.dtype);
    t.n = count;
    t.stats = 0;
    return t;
}

/* The same values with the map folded into one line of tokens: [n, 1, h * w, c]. */
static inline dr_tensor dr_tensor_tokens(dr_tensor t)
{
    t.w *= t.h;
    t.h = 1;
    return t;
}

#endif
