#include "kernels/cuda_wgmma.h"

#include "tests/cuda/shim/kernels.h"

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
    case SAMPLE_LARGE:
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
              sample == SAMPLE_LARGE ? 100 << 10 : (size_t)threads * sizeof(float),
              sample_args{ out, in, sample });
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

/* --- products of a warpgroup ------------------------------------------------------------------ */

/* A matrix of all of K: rows of W bytes, in panels one after the other along K or, MN-major, along M or N.
 * Without a swizzle a column of chunks, and 16 bytes more. */
template <dr_swizzle SWIZZLE, dr_major MAJOR, int MN> struct whole {
    static constexpr uint32_t W = SWIZZLE == DR_SWIZZLE_NONE ? 16 : 256 >> SWIZZLE;
    static constexpr uint32_t LENGTH = MAJOR == DR_K_MAJOR ? MN : WGMMA_K; /* of a panel, in rows */
    static constexpr uint32_t PANEL = LENGTH * W + (W == 16 ? 16 : 0);
    static constexpr bool CHUNKS_LEAD = W == 16 ? MAJOR == DR_K_MAJOR : MAJOR == DR_MN_MAJOR;
    static constexpr uint32_t LEADING = CHUNKS_LEAD ? PANEL : 128;
    static constexpr uint32_t STRIDE = W == 16 && !CHUNKS_LEAD ? PANEL : 8 * W;

    static __device__ uint64_t matrix(const void *start, int step)
    {
        const uint32_t bytes = MAJOR == DR_MN_MAJOR ? (uint32_t)step * 16 * W
                               : W == 16            ? (uint32_t)step * 2 * PANEL
                                         : (uint32_t)step * 32 % W + (uint32_t)step * 32 / W * PANEL;

        return dr_wgmma_moved(dr_wgmma_matrix<SWIZZLE, LEADING, STRIDE>(start), bytes);
    }
};

template <typename T, int N, dr_swizzle SWIZZLE, dr_major MAJOR, bool A_IN_REGISTERS>
static __global__ void wgmma_kernel(shim_wgmma_run r)
{
    typedef whole<SWIZZLE, MAJOR, WGMMA_M> whole_a;
    typedef whole<SWIZZLE, MAJOR, N> whole_b;
    const int thread = (int)threadIdx.x, lane = thread % 32, g = lane / 4, t = lane % 4,
              row = thread / 32 * 16 + g;
    const char *b = (const char *)dr_shared() + r.b_at + (r.mistake == WGMMA_MISALIGNED ? 8 : 0);
    const uint32_t end = (uint32_t)(r.shared_bytes - r.b_at) / 1024 * 1024;
    const uint32_t moved = r.mistake == WGMMA_OUTSIDE ? end : r.mistake == WGMMA_IN_PATTERN ? 128 : 0;
    uint32_t a[WGMMA_K / 16][4] = {};
    float d[N / 2];

    for (size_t i = 16 * (size_t)thread; i < r.shared_bytes; i += 16 * 128)
        dr_copy_async((char *)dr_shared() + i, (const char *)r.shared + i, true);
    dr_copy_commit();
    for (int k = 0; k < WGMMA_K / 16; k++)
        for (int i = 0; i < 4; i++)
            a[k][i] = *(const uint32_t *)(r.a + (row + i % 2 * 8) * WGMMA_K + 16 * k + 2 * t + i / 2 * 8);
    dr_copy_wait<0>();
    if (r.mistake != WGMMA_NO_PROXY_FENCE)
        dr_async_proxy_fence();
    __syncthreads();
    if (r.mistake == WGMMA_WARP_MISSING && thread >= 96)
        return;
    if (r.mistake != WGMMA_NO_FENCE)
        dr_wgmma_fence(d, a);
    for (int k = 0; k < WGMMA_K / 16; k++) {
        const uint64_t b_k = dr_wgmma_moved(whole_b::matrix(b, k), moved);

        if (A_IN_REGISTERS)
            dr_wgmma<N, MAJOR>(T(), d, a[k], b_k, k > 0);
        else
            dr_wgmma<N, MAJOR, MAJOR>(T(), d, whole_a::matrix(dr_shared(), k), b_k, k > 0);
    }
    if (r.mistake != WGMMA_NO_COMMIT)
        dr_wgmma_commit();
    if (r.mistake == WGMMA_MEMORY_TOO_SOON)
        memset((char *)dr_shared() + r.b_at, 0, r.shared_bytes - r.b_at);
    if (r.mistake == WGMMA_A_TOO_SOON)
        a[1][2] = 0;
    if (r.mistake == WGMMA_SUMS_TOO_SOON)
        d[1] = 0.0f;
    if (r.mistake != WGMMA_NO_WAIT)
        dr_wgmma_wait<0>(d);
    for (int i = 0; i < N / 2; i++)
        r.d[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + 2 * t + i % 2] = d[i];
    dr_wgmma_wait<0>(d);
}

template <typename T, int N, dr_swizzle SWIZZLE, dr_major MAJOR>
static void run_wgmma(const shim_wgmma_run *r, bool a_in_registers)
{
    if (a_in_registers)
        dr_launch(NULL, DR_KERNEL(wgmma_kernel<T, N, SWIZZLE, MAJOR, true>), dim3(1), 128, r->shared_bytes,
                  *r);
    else
        dr_launch(NULL, DR_KERNEL(wgmma_kernel<T, N, SWIZZLE, MAJOR, false>), dim3(1), 128, r->shared_bytes,
                  *r);
}

template <int N, dr_swizzle SWIZZLE>
static void run_wgmma(const shim_wgmma_run *r, bool a_in_registers, bool mn_major, shim_format format)
{
    if (format == SHIM_E4M3)
        run_wgmma<dr_e4m3, N, SWIZZLE, DR_K_MAJOR>(r, false);
    else if (mn_major && format == SHIM_BF16)
        run_wgmma<dr_bf16, N, SWIZZLE, DR_MN_MAJOR>(r, a_in_registers);
    else if (mn_major)
        run_wgmma<dr_f16, N, SWIZZLE, DR_MN_MAJOR>(r, a_in_registers);
    else if (format == SHIM_BF16)
        run_wgmma<dr_bf16, N, SWIZZLE, DR_K_MAJOR>(r, a_in_registers);
    else
        run_wgmma<dr_f16, N, SWIZZLE, DR_K_MAJOR>(r, a_in_registers);
}

template <int N>
static void run_wgmma(const shim_wgmma_run *r, int swizzle, bool a_in_registers, bool mn_major,
                      shim_format format)
{
    if (swizzle == 128)
        run_wgmma<N, DR_SWIZZLE_128>(r, a_in_registers, mn_major, format);
    else if (swizzle == 64)
        run_wgmma<N, DR_SWIZZLE_64>(r, a_in_registers, mn_major, format);
    else if (swizzle == 32)
        run_wgmma<N, DR_SWIZZLE_32>(r, a_in_registers, mn_major, format);
    else
        run_wgmma<N, DR_SWIZZLE_NONE>(r, a_in_registers, mn_major, format);
}

void shim_run_wgmma(const shim_wgmma_run *r, int n, int swizzle, bool a_in_registers, bool mn_major,
                    shim_format format)
{
    dr_assert(n == 8 || n == 40 || n == 256);
    dr_assert(format != SHIM_E4M3 || (!a_in_registers && !mn_major));
    if (n == 8)
        run_wgmma<8>(r, swizzle, a_in_registers, mn_major, format);
    else if (n == 40)
        run_wgmma<40>(r, swizzle, a_in_registers, mn_major, format);
    else
        run_wgmma<256>(r, swizzle, a_in_registers, mn_major, format);
}
