/* layer_norm.cu - each pixel's channels normalised, scaled and shifted.
 *
 *     x [pixels, c]: one warp for each pixel
 *
 * The pixel stays in the warp's registers, as vectors of 16 bytes: lane after lane, a lane's next vector
 * is 32 vectors further.  So the statistics can take two passes although x is read once: 2 pixels c
 * values move.  A pixel of an odd size, or with more than REGISTER_VECTORS vectors a lane, is read three
 * times instead.  The second and third time it comes from the L1 cache.
 *
 * Sums are about the pixel's first value: a constant input gives beta, exactly, and a mean far from zero
 * costs no digits. */
#include "kernels/cuda_device.h"

enum {
    WARPS = 4, /* warps of a block */
    THREADS = 32 * WARPS,
    REGISTER_VECTORS = 8,
};

/* Y is the type of y: T or dr_e4m3. */
template <typename T, typename Y> struct layer_norm {
    const T *x;
    Y *y;
    const float *gamma, *beta;
    float eps;
    size_t pixels;
    int c;
};

static __device__ __forceinline__ float scale_of(float spread, int c, float eps)
{
    return 1.0f / sqrtf(spread / (float)c + eps);
}

template <typename T, typename Y, int N, int VECTORS>
static __global__ __launch_bounds__(THREADS) void layer_norm_registers(layer_norm<T, Y> a)
{
    const int lane = (int)threadIdx.x % 32, vectors = a.c / N;
    const size_t pixel = blockIdx.x * (size_t)WARPS + threadIdx.x / 32;
    const T *x = a.x + pixel * (size_t)a.c;
    float value[VECTORS][N], sum = 0.0f, square = 0.0f;

    if (pixel >= a.pixels)
        return; /* all lanes of the warp return */
    const float first = dr_float(x[0]);

    for (int i = 0; i < VECTORS; i++) {
        const int v = i * 32 + lane;
        dr_pack<T, N> p = {};

        if (v < vectors)
            p = dr_load<N>(x + v * N);
        for (int j = 0; j < N; j++) {
            value[i][j] = v < vectors ? dr_float(p.at[j]) - first : 0.0f;
            sum += value[i][j];
        }
    }
    const float mean = dr_warp_sum(sum) / (float)a.c;

    for (int i = 0; i < VECTORS; i++)
        for (int j = 0; j < N; j++) {
            value[i][j] -= mean;
            square = i * 32 + lane < vectors ? fmaf(value[i][j], value[i][j], square) : square;
        }
    const float scale = scale_of(dr_warp_sum(square), a.c, a.eps);

    for (int i = 0; i < VECTORS; i++) {
        const int v = i * 32 + lane;
        float gamma[N], beta[N];
        dr_pack<Y, N> p;

        if (v >= vectors)
            break;
        dr_load_floats(gamma, a.gamma + v * N);
        dr_load_floats(beta, a.beta + v * N);
        for (int j = 0; j < N; j++)
            dr_store(&p.at[j], fmaf(value[i][j], scale * gamma[j], beta[j]));
        dr_save<N>(a.y + pixel * (size_t)a.c + v * N, p);
    }
}

template <typename T, typename Y>
static __global__ __launch_bounds__(THREADS) void layer_norm_reread(layer_norm<T, Y> a)
{
    const int lane = (int)threadIdx.x % 32;
    const size_t pixel = blockIdx.x * (size_t)WARPS + threadIdx.x / 32;
    const T *x = a.x + pixel * (size_t)a.c;
    Y *y = a.y + pixel * (size_t)a.c;
    float sum = 0.0f, square = 0.0f;

    if (pixel >= a.pixels)
        return;
    const float first = dr_float(x[0]);

    for (int j = lane; j < a.c; j += 32)
        sum += dr_float(x[j]) - first;
    const float mean = dr_warp_sum(sum) / (float)a.c;

    for (int j = lane; j < a.c; j += 32) {
        const float away = dr_float(x[j]) - first - mean;

        square = fmaf(away, away, square);
    }
    const float scale = scale_of(dr_warp_sum(square), a.c, a.eps);

    for (int j = lane; j < a.c; j += 32)
        dr_store(&y[j], fmaf(dr_float(x[j]) - first - mean, scale * a.gamma[j], a.beta[j]));
}

template <typename T, typename Y> static void launch(dr_stream stream, const dr_cuda_layer_norm_args *a)
{
    constexpr int N = dr_wide<T>::count;
    const layer_norm<T, Y> l = { (const T *)a->x, (Y *)a->y, a->gamma, a->beta, a->eps, a->pixels, a->c };
    const dim3 blocks(dr_blocks(a->pixels, WARPS));
    const int vectors = a->c % N ? REGISTER_VECTORS + 1 : (a->c / N + 31) / 32; /* vectors of a lane */

    if (vectors <= 2)
        dr_launch(stream, DR_KERNEL(layer_norm_registers<T, Y, N, 2>), blocks, THREADS, 0, l);
    else if (vectors <= 3)
        dr_launch(stream, DR_KERNEL(layer_norm_registers<T, Y, N, 3>), blocks, THREADS, 0, l);
    else if (vectors <= 5)
        dr_launch(stream, DR_KERNEL(layer_norm_registers<T, Y, N, 5>), blocks, THREADS, 0, l);
    else if (vectors <= REGISTER_VECTORS)
        dr_launch(stream, DR_KERNEL(layer_norm_registers<T, Y, N, REGISTER_VECTORS>), blocks, THREADS, 0, l);
    else
        dr_launch(stream, DR_KERNEL(layer_norm_reread<T, Y>), blocks, THREADS, 0, l);
}

void dr_cuda_layer_norm(dr_stream stream, const dr_cuda_layer_norm_args *a)
{
    dr_assert(dr_is_aligned(a->x) && dr_is_aligned(a->y));
    dr_assert(a->y_dtype == a->dtype || a->y_dtype == DR_E4M3);
    if (a->pixels == 0 || a->c == 0)
        return;
    if (a->y_dtype == DR_E4M3)
        DR_WITH_FLOATS(a->dtype, T, launch<T, dr_e4m3>(stream, a));
    else
        DR_WITH_FLOATS(a->dtype, T, launch<T, T>(stream, a));
}
