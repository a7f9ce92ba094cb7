/* conv_pack.c - packs the weights of convolutions for the kernels of the GPU (cuda_conv.h).  Host code. */
#include "kernels/cuda.h"

#include "base/error.h"
#include "base/half.h"

/* How many channels of a pixel a stage of the wgmma kernel has. */
enum { SLICE = 64 };

int dr_cuda_conv_slice(int in)
{
    return in % SLICE == 0 ? SLICE : in;
}

bool dr_cuda_conv_in_eight_bits(int in, int out)
{
    return in % SLICE == 0 && out % 8 == 0 && out >= 128;
}

int dr_cuda_conv_weight_ld(dr_dtype dtype, int in, int kernel)
{
    const int step = dtype == DR_E4M3 ? DR_CUDA_CONV_STEP_E4M3 : DR_CUDA_CONV_STEP;

    return (in * kernel * kernel + step - 1) / step * step;
}

static void put(dr_dtype dtype, void *to, size_t at, float value)
{
    switch (dtype) {
    case DR_E4M3:
        ((uint8_t *)to)[at] = dr_e4m3_from_float(value);
        break;
    case DR_F16:
        ((uint16_t *)to)[at] = dr_f16_from_float(value);
        break;
    default:
        ((uint16_t *)to)[at] = dr_bf16_from_float(value);
    }
}

void dr_cuda_conv_pack(dr_dtype dtype, void *to, float scale, const float *weight, int in, int out,
                       int kernel, int slice)
{
    const size_t taps = (size_t)kernel * (size_t)kernel, channels = (size_t)in, together = (size_t)slice;
    const size_t ld = (size_t)dr_cuda_conv_weight_ld(dtype, in, kernel);

    dr_assert(slice > 0 && in % slice == 0);
    for (size_t j = 0; j < (size_t)out; j++) {
        const float *from = weight + j * channels * taps;
        size_t at = j * ld;

        for (size_t first = 0; first < channels; first += together)
            for (size_t tap = 0; tap < taps; tap++)
                for (size_t c = first; c < first + together; c++)
                    put(dtype, to, at++, from[c * taps + tap] / scale);
        while (at < (j + 1) * ld)
            put(dtype, to, at++, 0.0f);
    }
}

/* A phase has two lines (or columns) of weights.  One is a line of the kernel, and the other is the sum
 * of two. */
static void lines_of(int phase, int line, int *begin, int *end)
{
    *begin = line == 0 ? 0 : 1 + phase;
    *end = line == 0 ? 1 + phase : 3;
}

void dr_cuda_conv_phase(float *to, const float *weight, size_t filters, int phase)
{
    dr_assert(phase >= 0 && phase < DR_CUDA_CONV_PHASES);
    for (size_t i = 0; i < 4 * filters; i++) {
        const float *filter = weight + i / 4 * 9;
        int y, y_end, x_begin, x_end;
        float sum = 0.0f;

        lines_of(phase / 2, i % 4 / 2, &y, &y_end);
        lines_of(phase % 2, i % 2, &x_begin, &x_end);
        for (; y < y_end; y++)
            for (int x = x_begin; x < x_end; x++)
                sum += filter[3 * y + x];
        to[i] = sum;
    }
}
