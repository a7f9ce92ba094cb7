#include "kernels/cuda_device.h"

#include "tests/cuda_shim_kernels.h"

typedef struct sample_args {
    float *out;
    const float *in; /* in[i] = i */
    shim_sample sample;
} sample_args;

static __device__ void reverse(const sample_args &a, bool barrier_before_read, bool barrier_before_reuse)
{
    float *shared = (float *)dr_shared();
    const int i = (int)threadIdx.x, n = (int)blockDim.x;

    for (int turn = 0; turn < 2; turn++) {
        shared[i] = a.in[i] + (float)turn;
        if (barrier_before_read)
            __syncthreads();
        if (turn == 0)
            a.out[i] = shared[n - 1 - i];
        if (barrier_before_reuse)
            __syncthreads();
    }
}

static __device__ void diverge(const sample_args &a)
{
    const int i = (int)threadIdx.x;

    switch (a.sample) {
    case SAMPLE_DIVERGENT_BARRIER:
        if (i % 2)
            __syncthreads();
        else
            __syncthreads();
        break;
    case SAMPLE_EARLY_EXIT:
        if (i != 5)
            __syncthreads();
        break;
    default:
        if (i != 3)
            a.out[i] = __shfl_xor_sync(0xffffffff, a.in[i], 1);
    }
}

static __device__ void copy(const sample_args &a)
{
    float *shared = (float *)dr_shared();
    const int i = (int)threadIdx.x, n = (int)blockDim.x, half = n / 8 * 4;

    if (i % 4 == 0 && i < half)
        dr_copy_async(shared + i, a.in + i, true);
    dr_copy_commit();
    if (i % 4 == 0 && i >= half)
        dr_copy_async(shared + i, a.in + i + (a.sample == SAMPLE_COPY_MISALIGNED ? 1 : 0), true);
    dr_copy_commit();
    if (a.sample == SAMPLE_COPY_LEFT_BEHIND)
        return;
    if (a.sample == SAMPLE_COPY_ONE_GROUP_SHORT)
        dr_copy_wait<1>();
    else if (a.sample != SAMPLE_COPY_NO_WAIT)
        dr_copy_wait<0>();
    __syncthreads();
    a.out[i] = shared[i];
    dr_copy_wait<0>();
}

static __global__ void sample_kernel(sample_args a)
{
    const int i = (int)threadIdx.x;

    switch (a.sample) {
    case SAMPLE_REVERSE:
    case SAMPLE_MISSING_BARRIER:
    case SAMPLE_REUSED_TOO_SOON:
        reverse(a, a.sample != SAMPLE_MISSING_BARRIER, a.sample != SAMPLE_REUSED_TOO_SOON);
        break;
    case SAMPLE_UNINITIALISED:
        a.out[i] = ((const float *)dr_shared())[i];
        break;
    case SAMPLE_DIVERGENT_BARRIER:
    case SAMPLE_EARLY_EXIT:
    case SAMPLE_DIVERGENT_SHUFFLE:
        diverge(a);
        break;
    case SAMPLE_COPY:
    case SAMPLE_COPY_NO_WAIT:
    case SAMPLE_COPY_ONE_GROUP_SHORT:
    case SAMPLE_COPY_MISALIGNED:
    case SAMPLE_COPY_LEFT_BEHIND:
        copy(a);
        break;
    case SAMPLE_MISALIGNED_LOAD:
        a.out[i] = dr_load<4>(a.in + 1).at[0];
        break;
    case SAMPLE_SUM:
        a.out[i] = dr_warp_sum(a.in[i]);
        break;
    }
}

void shim_run_sample(void *stream, shim_sample sample, float *out, int threads)
{
    alignas(16) static float in[1024]; /* the launch may wait on a stream */

    for (int i = 0; i < threads; i++)
        in[i] = (float)i;
    dr_launch((dr_stream)stream, DR_KERNEL(sample_kernel), dim3(1), (unsigned)threads,
              (size_t)threads * sizeof(float), sample_args{ out, in, sample });
}

typedef struct product_args {
    float *d;
    const uint16_t *a, *b;
} product_args;

template <typename T> static __global__ void product_kernel(product_args p)
{
    const int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
    uint16_t *a = (uint16_t *)dr_shared(), *b = a + 16 * 16; /* as they are in memory */
    uint32_t fragment_a[4], fragment_b[4];
    float c[4] = { 0 };

    for (int i = lane; i < 16 * 16; i += 32)
        a[i] = p.a[i];
    for (int i = lane; i < 16 * 8; i += 32)
        b[i] = p.b[i];
    __syncthreads();
    dr_ldmatrix(fragment_a, a + lane % 16 * 16 + lane / 16 * 8);
    dr_ldmatrix_transposed(fragment_b,
                           b + lane % 16 * 8); /* two matrices; the other two lanes' are the same again */
    dr_mma(T(), c, fragment_a, fragment_b);
    for (int i = 0; i < 4; i++)
        p.d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
}

void shim_run_product(float *d, const uint16_t *a, const uint16_t *b, bool bf16)
{
    const product_args args = { d, a, b };

    if (bf16)
        dr_launch(NULL, DR_KERNEL(product_kernel<dr_bf16>), dim3(1), 32, 24 * 16 * 2, args);
    else
        dr_launch(NULL, DR_KERNEL(product_kernel<dr_f16>), dim3(1), 32, 24 * 16 * 2, args);
}
