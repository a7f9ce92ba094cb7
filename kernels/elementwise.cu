/* elementwise.cu - operators whose result at a place depends only on the values at that place:
 * activations, scale and conversion, 8-bit colour, GEGLU.
 *
 * A thread has 16 bytes of the wider side.  Every value is read once and written once.  Where a pointer
 * is not aligned, or a pixel is not a whole number of vectors, a thread has one value: the bits are the
 * same, but it is slower. */
#include "kernels/cuda_device.h"

#include "kernels/pixel.h"

enum { THREADS = 256 };

/* --- y = activation(x) factor --------------------------------------------------------------- */

template <typename X, typename Y> struct unary {
    const X *x;
    Y *y;
    size_t values;
    dr_activation activation;
    float factor;
};

template <typename X, typename Y, int N>
static __global__ __launch_bounds__(THREADS) void unary_kernel(unary<X, Y> a)
{
    const size_t first = (blockIdx.x * (size_t)THREADS + threadIdx.x) * N;

    if (first + N <= a.values) {
        const dr_pack<X, N> x = dr_load<N>(a.x + first);
        dr_pack<Y, N> y;

        for (int j = 0; j < N; j++)
            dr_store(&y.at[j], dr_activated(a.activation, dr_float(x.at[j])) * a.factor);
        dr_save<N>(a.y + first, y);
        return;
    }
    for (size_t i = first; i < a.values; i++)
        dr_store(&a.y[i], dr_activated(a.activation, dr_float(a.x[i])) * a.factor);
}

template <typename X, typename Y> static void launch_unary(dr_stream stream, const unary<X, Y> &a)
{
    constexpr int N = 16 / (sizeof(X) > sizeof(Y) ? sizeof(X) : sizeof(Y));

    if (dr_is_aligned(a.x) && dr_is_aligned(a.y))
        dr_launch(stream, DR_KERNEL(unary_kernel<X, Y, N>), dim3(dr_blocks(a.values, THREADS * N)), THREADS,
                  0, a);
    else
        dr_launch(stream, DR_KERNEL(unary_kernel<X, Y, 1>), dim3(dr_blocks(a.values, THREADS)), THREADS, 0,
                  a);
}

void dr_cuda_activate(dr_stream stream, const dr_cuda_activate_args *a)
{
    if (a->values)
        DR_WITH_FLOATS(a->dtype, T,
                       launch_unary<T, T>(stream,
                                          { (const T *)a->x, (T *)a->y, a->values, a->activation, 1.0f }));
}

template <typename X> static void launch_scale(dr_stream stream, const dr_cuda_scale_args *a)
{
    DR_WITH_FLOATS(a->y_dtype, Y,
                   launch_unary<X, Y>(stream,
                                      { (const X *)a->x, (Y *)a->y, a->values, DR_ACT_NONE, a->factor }));
}

void dr_cuda_scale(dr_stream stream, const dr_cuda_scale_args *a)
{
    if (a->values)
        DR_WITH_FLOATS(a->x_dtype, X, launch_scale<X>(stream, a));
}

/* --- 8-bit colour ---------------------------------------------------------------------------- */

template <typename T> struct to_rgb8 {
    const T *x;
    uint8_t *y;
    size_t values;
    int32_t *broken;
};

/* Several threads may write this.  All of them write the same value. */
template <typename T> static __device__ __forceinline__ uint8_t to_rgb8_of(const to_rgb8<T> &a, float x)
{
    if (a.broken && !(fabsf(x) < INFINITY))
        *a.broken = 1;
    return dr_rgb8(x);
}

template <typename T, int N> static __global__ __launch_bounds__(THREADS) void to_rgb8_kernel(to_rgb8<T> a)
{
    const size_t first = (blockIdx.x * (size_t)THREADS + threadIdx.x) * N;

    if (first + N <= a.values) {
        const dr_pack<T, N> x = dr_load<N>(a.x + first);
        dr_pack<uint8_t, N> y;

        for (int j = 0; j < N; j++)
            y.at[j] = to_rgb8_of(a, dr_float(x.at[j]));
        dr_save<N>(a.y + first, y);
        return;
    }
    for (size_t i = first; i < a.values; i++)
        a.y[i] = to_rgb8_of(a, dr_float(a.x[i]));
}

template <typename T> static void launch_to_rgb8(dr_stream stream, const dr_cuda_to_rgb8_args *args)
{
    constexpr int N = dr_wide<T>::count;
    const to_rgb8<T> a = { (const T *)args->x, args->y, args->values, args->broken };

    if (dr_is_aligned(a.x) && dr_is_aligned(a.y))
        dr_launch(stream, DR_KERNEL(to_rgb8_kernel<T, N>), dim3(dr_blocks(a.values, THREADS * N)), THREADS, 0,
                  a);
    else
        dr_launch(stream, DR_KERNEL(to_rgb8_kernel<T, 1>), dim3(dr_blocks(a.values, THREADS)), THREADS, 0, a);
}

void dr_cuda_to_rgb8(dr_stream stream, const dr_cuda_to_rgb8_args *a)
{
    if (a->values)
        DR_WITH_FLOATS(a->dtype, T, launch_to_rgb8<T>(stream, a));
}

/* --- GEGLU ------------------------------------------------------------------------------------ */

/* Y is the type of y: T or dr_e4m3. */
template <typename T, typename Y> struct geglu {
    const T *x;
    Y *y;
    uint32_t items;      /* vectors of y */
    uint32_t vectors, c; /* of a pixel of y */
};

template <typename T, typename Y, int N>
static __global__ __launch_bounds__(THREADS) void geglu_kernel(geglu<T, Y> a)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;

    if (i >= a.items)
        return;
    const T *x = a.x + (size_t)(i / a.vectors) * 2 * a.c + i % a.vectors * N;
    const dr_pack<T, N> value = dr_load<N>(x), gate = dr_load<N>(x + a.c);
    dr_pack<Y, N> y;

    for (int j = 0; j < N; j++)
        dr_store(&y.at[j], dr_float(value.at[j]) * dr_gelu(dr_float(gate.at[j])));
    dr_save<N>(a.y + (size_t)i * N, y);
}

template <typename T, typename Y, int N>
static void launch_geglu(dr_stream stream, const dr_cuda_geglu_args *args)
{
    const uint32_t c = (uint32_t)args->c, vectors = c / N;
    const geglu<T, Y> a = { (const T *)args->x, (Y *)args->y, dr_items(args->pixels * vectors), vectors, c };

    dr_launch(stream, DR_KERNEL(geglu_kernel<T, Y, N>), dim3(dr_blocks(a.items, THREADS)), THREADS, 0, a);
}

template <typename T, typename Y> static void launch_geglu(dr_stream stream, const dr_cuda_geglu_args *a)
{
    if (a->c % dr_wide<T>::count == 0)
        launch_geglu<T, Y, dr_wide<T>::count>(stream, a);
    else
        launch_geglu<T, Y, 1>(stream, a);
}

void dr_cuda_geglu(dr_stream stream, const dr_cuda_geglu_args *a)
{

    dr_assert(dr_is_aligned(a->x) && dr_is_aligned(a->y));
    dr_assert(a->y_dtype == a->dtype || a->y_dtype == DR_E4M3);
    if (a->pixels == 0 || a->c == 0)
        return;
    if (a->y_dtype == DR_E4M3)
        DR_WITH_FLOATS(a->dtype, T, launch_geglu<T, dr_e4m3>(stream, a));
    else
        DR_WITH_FLOATS(a->dtype, T, launch_geglu<T, T>(stream, a));
}

/* --- a vector for each row --------------------------------------------------------------------- */

template <typename T> struct row_bias {
    const float *table;
    const int32_t *index;
    size_t stride;
    const T *added; /* NULL: none */
    T *y;
    uint32_t items;   /* vectors of a row of y */
    uint32_t vectors; /* of a pixel */
};

/* Grid: vectors of a row, rows. */
template <typename T, int N> static __global__ __launch_bounds__(THREADS) void row_bias_kernel(row_bias<T> a)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const size_t at = ((size_t)blockIdx.y * a.items + i) * N;

    if (i >= a.items)
        return;
    const float *entry = a.table + (size_t)a.index[blockIdx.y] * a.stride + i % a.vectors * N;
    dr_pack<T, N> y = {};

    if (a.added)
        y = dr_load<N>(a.added + at);
    for (int j = 0; j < N; j++)
        dr_store(&y.at[j], a.added ? dr_float(y.at[j]) + entry[j] : entry[j]);
    dr_save<N>(a.y + at, y);
}

template <typename T, int N> static void launch_row_bias(dr_stream stream, const dr_cuda_row_bias_args *args)
{
    const uint32_t vectors = (uint32_t)args->c / N;
    const row_bias<T> a = { args->table,  args->index,
                            args->stride, (const T *)args->added,
                            (T *)args->y, dr_items((size_t)args->pixels * vectors),
                            vectors };

    dr_launch(stream, DR_KERNEL(row_bias_kernel<T, N>), dim3(dr_blocks(a.items, THREADS), (unsigned)args->n),
              THREADS, 0, a);
}

void dr_cuda_row_bias(dr_stream stream, const dr_cuda_row_bias_args *a)
{
    const bool wide = (size_t)a->c * dr_dtype_bytes(a->dtype) % 16 == 0;

    dr_assert(dr_is_aligned(a->y) && dr_is_aligned(a->added));
    if (a->n == 0 || a->pixels == 0 || a->c == 0)
        return;
    if (wide)
        DR_WITH_FLOATS(a->dtype, T, launch_row_bias<T, dr_wide<T>::count>(stream, a));
    else
        DR_WITH_FLOATS(a->dtype, T, launch_row_bias<T, 1>(stream, a));
}
