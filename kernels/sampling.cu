/* sampling.cu - the two ends of a UNet call: its inputs, and what the sampler makes of its output.
 *
 * A thread has one value, or a few values that are a block apart.  Everything here is small.  A latent of
 * 64 x 64 x 4 has 64 KiB, and a step of one sample moves at most 12 times as much.  A launch takes longer
 * than its bytes do. */
#include "kernels/cuda_device.h"

#include "kernels/timestep.h"

enum { THREADS = 256 };

/* --- lookups ------------------------------------------------------------------------------------ */

/* Grid: tokens. */
template <typename T> static __global__ __launch_bounds__(THREADS) void lookup_kernel(dr_cuda_lookup_args a)
{
    const size_t token = blockIdx.x, c = (size_t)a.c;
    const float *entry = a.table + (size_t)a.index[token] * c;
    const float *position = a.positions ? a.positions + token % (size_t)a.w * c : NULL;
    T *y = (T *)a.y + token * c;

    for (size_t j = threadIdx.x; j < c; j += THREADS) {
        const float value = position ? entry[j] + position[j] : entry[j];

        dr_store(&y[j], a.accumulate ? dr_float(y[j]) + value : value);
    }
}

void dr_cuda_lookup(dr_stream stream, const dr_cuda_lookup_args *a)
{
    if (a->tokens)
        DR_WITH_FLOATS(a->dtype, T,
                       dr_launch(stream, DR_KERNEL(lookup_kernel<T>), dim3((unsigned)a->tokens), THREADS, 0,
                                 *a));
}

/* --- the UNet's inputs -------------------------------------------------------------------------- */

/* Grid: rows. */
template <typename T>
static __global__ __launch_bounds__(THREADS) void timestep_embedding_kernel(dr_cuda_timestep_embedding_args a)
{
    const int half = a.c / 2;
    T *y = (T *)a.y + blockIdx.x * (size_t)a.c;
    T *sine = a.flip_sin_to_cos ? y + half : y, *cosine = a.flip_sin_to_cos ? y : y + half;

    for (int i = (int)threadIdx.x; i < half; i += THREADS) {
        const float phase = a.timestep[blockIdx.x] * dr_timestep_frequency(i, half, a.freq_shift);

        dr_store(&sine[i], sinf(phase));
        dr_store(&cosine[i], cosf(phase));
    }
    if (a.c % 2 && threadIdx.x == 0)
        dr_store(&y[a.c - 1], 0.0f);
}

void dr_cuda_timestep_embedding(dr_stream stream, const dr_cuda_timestep_embedding_args *a)
{
    if (a->n)
        DR_WITH_FLOATS(a->dtype, T,
                       dr_launch(stream, DR_KERNEL(timestep_embedding_kernel<T>), dim3((unsigned)a->n),
                                 THREADS, 0, *a));
}

/* Grid: pieces of a row, rows. */
template <typename T>
static __global__ __launch_bounds__(THREADS) void unet_input_kernel(dr_cuda_unet_input_args a)
{
    const size_t c = (size_t)a.c, e = (size_t)a.extra_c, row = blockIdx.y, sample = (size_t)a.sample[row];
    const size_t values = (size_t)a.pixels * (c + e), i = blockIdx.x * (size_t)THREADS + threadIdx.x;

    if (i >= values)
        return;
    const size_t pixel = sample * (size_t)a.pixels + i / (c + e), j = i % (c + e);

    dr_store((T *)a.y + row * values + i,
             j < c ? a.latent[pixel * c + j] * a.scale[row] : a.extra[pixel * e + j - c]);
}

void dr_cuda_unet_input(dr_stream stream, const dr_cuda_unet_input_args *a)
{
    const size_t values = (size_t)a->pixels * (size_t)(a->c + a->extra_c);

    if (a->n && values)
        DR_WITH_FLOATS(a->dtype, T,
                       dr_launch(stream, DR_KERNEL(unet_input_kernel<T>),
                                 dim3(dr_blocks(values, THREADS), (unsigned)a->n), THREADS, 0, *a));
}

/* --- the sampler -------------------------------------------------------------------------------- */

/* Grid: pieces of a latent, active samples. */
template <typename T>
static __global__ __launch_bounds__(THREADS) void sampler_step_kernel(dr_cuda_sampler_step_args a)
{
    const size_t n = (size_t)a.values, i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    const size_t sample = (size_t)a.sample[blockIdx.y];
    const dr_step *step = &a.step[blockIdx.y];
    const T *output = (const T *)a.output;
    float *latent = a.latent + sample * n + i, *history = a.history + sample * DR_HISTORY_MAX * n + i;
    float state[DR_STATES], e, noise;

    if (i >= n)
        return;
    e = dr_apply_guidance(dr_float(output[(size_t)a.cond_row[blockIdx.y] * n + i]),
                          dr_float(output[(size_t)a.uncond_row[blockIdx.y] * n + i]), a.guidance[blockIdx.y]);
    noise = step->noise ? a.noise[sample * n + i] : 0.0f;
    state[DR_STATE_X] = *latent;
    for (int k = 0; k < DR_HISTORY_MAX; k++)
        state[DR_STATE_H + k] = history[(size_t)k * n];
    dr_step_value(step, state, e, noise);
    *latent = state[DR_STATE_X];
    for (int k = 0; k < DR_HISTORY_MAX; k++)
        history[(size_t)k * n] = state[DR_STATE_H + k];
}

void dr_cuda_sampler_step(dr_stream stream, const dr_cuda_sampler_step_args *a)
{
    if (a->active && a->values)
        DR_WITH_FLOATS(a->dtype, T,
                       dr_launch(stream, DR_KERNEL(sampler_step_kernel<T>),
                                 dim3(dr_blocks((size_t)a->values, THREADS), (unsigned)a->active), THREADS, 0,
                                 *a));
}
