/* conv_pack.c - the weights of convolutions on the GPU, as its kernels want them (cuda_conv.h).  Host code. */
#include "kernels/cuda.h"

#include "base/error.h"
#include "base/half.h"

/* What a stage of the wgmma kernel has of a pixel. */
enum { SLICE = 64 };

int dr_cuda_conv_slice(int in)
{
    return in % SLICE == 0 ? SLICE : in;
}

int dr_cuda_conv_weight_ld(int in, int kernel)
{
    return (in * kernel * kernel + DR_CUDA_CONV_STEP - 1) / DR_CUDA_CONV_STEP * DR_CUDA_CONV_STEP;
}

void dr_cuda_conv_pack(dr_dtype dtype, void *to, const float *weight, int in, int out, int kernel, int slice)
{
    const size_t taps = (size_t)kernel * (size_t)kernel, channels = (size_t)in, together = (size_t)slice;
    const size_t ld = (size_t)dr_cuda_conv_weight_ld(in, kernel);

    dr_assert(slice > 0 && in % slice == 0);
    for (size_t j = 0; j < (size_t)out; j++) {
        const float *from = weight + j * channels * taps;
        uint16_t *row = (uint16_t *)to + j * ld;

        for (size_t first = 0; first < channels; first += together)
            for (size_t tap = 0; tap < taps; tap++)
                for (size_t c = first; c < first + together; c++) {
                    const float value = from[c * taps + tap];

                    *row++ = dtype == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
                }
        for (size_t i = taps * channels; i < ld; i++)
            *row++ = 0;
    }
}

/* One of a phase's two lines (or columns) of weights is one of the kernel's, the other the sum of two. */
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
