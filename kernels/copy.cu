/* copy.cu - values are copied, and stay what they are: concat, gather.
 *
 * Nothing is computed, so a kernel knows only bytes.  It moves units U of 16, 4, 2 or 1 bytes.  A unit is
 * as large as possible, but every size and address must be a multiple of it.  Each byte of y is written
 * once, and one byte is read for it. */
#include "kernels/cuda_device.h"

enum { THREADS = 256 };

typedef dr_pack<uint32_t, 4> unit16;

/* Runs the statement with U as the widest unit that `bits` allows.  `bits` is the bitwise or of all sizes
 * and addresses. */
#define WITH_UNIT(bits, U, ...)       \
    do {                              \
        if ((bits) % 16 == 0) {       \
            typedef unit16 U;         \
            __VA_ARGS__;              \
        } else if ((bits) % 4 == 0) { \
            typedef uint32_t U;       \
            __VA_ARGS__;              \
        } else if ((bits) % 2 == 0) { \
            typedef uint16_t U;       \
            __VA_ARGS__;              \
        } else {                      \
            typedef uint8_t U;        \
            __VA_ARGS__;              \
        }                             \
    } while (0)

/* --- concat ------------------------------------------------------------------------------------ */

template <typename U> struct concat {
    const U *a, *b;
    U *y;
    uint32_t units;  /* units of y */
    uint32_t ua, ub; /* units of a pixel of a, and of b */
};

template <typename U> static __global__ __launch_bounds__(THREADS) void concat_kernel(concat<U> c)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;

    if (i >= c.units)
        return;
    const uint32_t pixel = i / (c.ua + c.ub), j = i % (c.ua + c.ub);

    c.y[i] = j < c.ua ? c.a[pixel * c.ua + j] : c.b[pixel * c.ub + j - c.ua];
}

template <typename U> static void launch_concat(dr_stream stream, const dr_cuda_concat_args *a, size_t bytes)
{
    const uint32_t ua = (uint32_t)((size_t)a->a_c * bytes / sizeof(U));
    const uint32_t ub = (uint32_t)((size_t)a->b_c * bytes / sizeof(U));
    const uint32_t units = dr_items(a->pixels * (ua + ub));
    const concat<U> args = { (const U *)a->a, (const U *)a->b, (U *)a->y, units, ua, ub };

    if (args.units)
        dr_launch(stream, DR_KERNEL(concat_kernel<U>), dim3(dr_blocks(args.units, THREADS)), THREADS, 0,
                  args);
}

void dr_cuda_concat(dr_stream stream, const dr_cuda_concat_args *a)
{
    const size_t bytes = dr_dtype_bytes(a->dtype);
    const size_t sizes = (size_t)a->a_c * bytes | (size_t)a->b_c * bytes;

    WITH_UNIT(sizes | (uintptr_t)a->a | (uintptr_t)a->b | (uintptr_t)a->y, U,
              launch_concat<U>(stream, a, bytes));
}

/* --- gather ------------------------------------------------------------------------------------ */

template <typename U> struct gather {
    const U *x;
    U *y;
    const int32_t *row;
    size_t units; /* units of a row */
};

/* Grid: pieces of a row, rows. */
template <typename U> static __global__ __launch_bounds__(THREADS) void gather_kernel(gather<U> a)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;

    if (i < a.units)
        a.y[blockIdx.y * a.units + i] = a.x[(size_t)a.row[blockIdx.y] * a.units + i];
}

template <typename U> static void launch_gather(dr_stream stream, const dr_cuda_gather_args *a)
{
    const gather<U> args = { (const U *)a->x, (U *)a->y, a->row, a->row_bytes / sizeof(U) };

    if (args.units && a->n)
        dr_launch(stream, DR_KERNEL(gather_kernel<U>), dim3(dr_blocks(args.units, THREADS), (unsigned)a->n),
                  THREADS, 0, args);
}

void dr_cuda_gather(dr_stream stream, const dr_cuda_gather_args *a)
{
    WITH_UNIT(a->row_bytes | (uintptr_t)a->x | (uintptr_t)a->y, U, launch_gather<U>(stream, a));
}
