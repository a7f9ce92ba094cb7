/* concat_moments.cu - two maps side by side, and the moments of the result, for the group norm that follows.
 *
 * As in concat, every value is read once and written once.  The norm then reads it only once.  A block
 * copies a run of pixels of a row.  The runs follow from the row's shape. */
#include "kernels/cuda_moments.h"

enum {
    LANE_PIXELS = 16, /* pixels of a run for each thread: so many loads at a time hide their latency */
    RUNS_MAX = 64,    /* runs of a row: the norm joins so many parts without a launch of its own for it */
};

template <typename T> struct concat {
    const T *a, *b;
    T *y;
    int a_c, b_c, pixels, run_pixels, runs, groups;
    dr_cuda_moments *parts; /* [n, groups, runs] */
};

/* Grid: runs of pixels, rows. */
template <typename T, int N> static __global__ __launch_bounds__(THREADS) void concat_kernel(concat<T> a)
{
    const int first = (int)blockIdx.x * a.run_pixels, left = a.pixels - first, c = a.a_c + a.b_c;
    const size_t pixel = (size_t)blockIdx.y * (size_t)a.pixels + (size_t)first;
    const maps<T> x = { a.a + pixel * (size_t)a.a_c, a.b + pixel * (size_t)a.b_c, a.a_c, a.b_c, a.a_c };

    leave_parts<T, N>(x, a.groups, c / a.groups, left < a.run_pixels ? left : a.run_pixels, layout_of<N>(c),
                      a.y + pixel * (size_t)c,
                      a.parts + (size_t)blockIdx.y * (size_t)(a.groups * a.runs) + blockIdx.x, a.runs);
}

/* --- launches ---------------------------------------------------------------------------------- */

/* How many values are read and written at a time. */
static int width_of(const dr_cuda_concat_moments_args *a)
{
    const int wide = (int)(16 / dr_dtype_bytes(a->dtype));

    return a->a_c % wide == 0 && a->b_c % wide == 0 ? wide : 1;
}

static int run_pixels_of(const dr_cuda_concat_moments_args *a)
{
    const int least = lanes_of((a->a_c + a->b_c) / width_of(a)) * LANE_PIXELS;
    const int pixels = (a->pixels + RUNS_MAX - 1) / RUNS_MAX;

    return pixels > least ? pixels : least;
}

int dr_cuda_concat_parts(const dr_cuda_concat_moments_args *a)
{
    const int run = run_pixels_of(a);

    return dr_cuda_group_norm_reads_once(a->dtype, a->pixels, a->a_c + a->b_c, a->groups)
               ? 0
               : (a->pixels + run - 1) / run;
}

template <typename T, int N> static void launch(dr_stream stream, const dr_cuda_concat_moments_args *a)
{
    const int run = run_pixels_of(a), runs = (a->pixels + run - 1) / run;
    const concat<T> args = { (const T *)a->a, (const T *)a->b, (T *)a->y, a->a_c,
                             a->b_c,          a->pixels,       run,       runs,
                             a->groups,       a->parts };

    dr_launch(stream, DR_KERNEL(concat_kernel<T, N>), dim3((unsigned)runs, (unsigned)a->n), THREADS,
              2 * moment_floats(a->a_c + a->b_c, N) * sizeof(float), args);
}

void dr_cuda_concat_moments(dr_stream stream, const dr_cuda_concat_moments_args *a)
{
    dr_assert(a->groups > 0 && (a->a_c + a->b_c) % a->groups == 0 && dr_is_aligned(a->parts));
    dr_assert(dr_is_aligned(a->a) && dr_is_aligned(a->b) && dr_is_aligned(a->y));
    if (a->n == 0 || a->pixels == 0)
        return;
    if (width_of(a) > 1)
        DR_WITH_FLOATS(a->dtype, T, launch<T, dr_wide<T>::count>(stream, a));
    else
        DR_WITH_FLOATS(a->dtype, T, launch<T, 1>(stream, a));
}
