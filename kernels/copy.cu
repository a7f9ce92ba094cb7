/* copy.cu - values go elsewhere and stay what they are: upsample, concat, gather.
 *
 * Nothing is computed, so a kernel knows bytes only: it moves units U of 16, 4, 2 or 1 bytes, the largest
 * that every size and address is a multiple of.  Each byte of y is written once, and read once for it. */
#include "kernels/cuda_device.h"

enum { THREADS = 256 };

typedef dr_pack<uint32_t, 4> unit16;

/* The statement, with U the widest unit that every bit of `bits` allows: sizes and addresses, or-ed. */
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

/* --- upsample ---------------------------------------------------------------------------------- */

template <typename U> struct upsample {
    const U *x;
    U *y;
    uint32_t units; /* of y */
    uint32_t x_h, x_w, y_h, y_w;
    uint32_t pixel; /* units of a pixel */
};

template <typename U> static __global__ __launch_bounds__(THREADS) void upsample_kernel(upsample<U> a)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;

    if (i >= a.units)
        return;
    const uint32_t pixel = i / a.pixel, line = pixel / a.y_w, n = line / a.y_h;
    const uint32_t row = line % a.y_h * a.x_h / a.y_h, column = pixel % a.y_w * a.x_w / a.y_w;

    a.y[i] = a.x[((n * a.x_h + row) * a.x_w + column) * a.pixel + i % a.pixel];
}

template <typename U>
static void launch_upsample(dr_stream stream, const dr_cuda_upsample_args *a, size_t pixel_bytes)
{
    const uint32_t pixel = (uint32_t)(pixel_bytes / sizeof(U));
    const uint32_t units = dr_items((size_t)a->n * (size_t)a->y_h * (size_t)a->y_w * pixel);
    const upsample<U> args = { (const U *)a->x,  (U *)a->y,        units, (unsigned)a->x_h, (unsigned)a->x_w,
                               (unsigned)a->y_h, (unsigned)a->y_w, pixel };

    if (units)
        dr_launch(stream, DR_KERNEL(upsample_kernel<U>), dim3(dr_blocks(units, THREADS)), THREADS, 0, args);
}

void dr_cuda_upsample(dr_stream stream, const dr_cuda_upsample_args *a)
{
    const size_t bytes = (size_t)a->c * dr_dtype_bytes(a->dtype);

    WITH_UNIT(bytes | (uintptr_t)a->x | (uintptr_t)a->y, U, launch_upsample<U>(stream, a, bytes));
}

/* --- concat ------------------------------------------------------------------------------------ */

template <typename U> struct concat {
    const U *a, *b;
    U *y;
    uint32_t units;  /* of y */
    uint32_t ua, ub; /* of a pixel of a and of b */
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
    size_t units; /* of a row */
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
