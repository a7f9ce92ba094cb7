/* attention_any.cu - attention for every head and layout that the tensor cores do not take: float32,
 * sizes that are no multiple of 8, views that are not aligned.  Small models have such heads and layouts.
 * Nothing here is fast.
 *
 * A warp has one query.  Of each 32 keys, a lane scores one.  Then it sums channels lane, lane + 32, ...
 * of the values of all of them.  The kernel reads q and writes y once.  It reads k and v once for each
 * query, from the caches if they hold them. */
#include "kernels/cuda_attention.h"

enum {
    WARPS = 4, /* warps of a block */
    THREADS = 32 * WARPS,
    LANE_CHANNELS = DR_CUDA_HEAD_DIM_MAX / 32,
};

template <typename T> static __device__ __forceinline__ float dot(const float *q, const T *k, int d)
{
    float sum = 0.0f;

    for (int c = 0; c < d; c++)
        sum = fmaf(q[c], dr_float(k[c]), sum);
    return sum;
}

/* Grid: blocks of queries, heads, rows.  Shared memory: a query for each warp. */
template <typename T> static __global__ __launch_bounds__(THREADS) void attention_any_kernel(attention<T> a)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32,
              query = (int)blockIdx.x * WARPS + warp;
    float *q = (float *)dr_shared() + warp * a.d;
    float o[LANE_CHANNELS] = { 0 }, m = -INFINITY, l = 0.0f;

    to_head(&a);
    if (query >= a.q_tokens)
        return; /* all lanes of the warp return */
    for (int c = lane; c < a.d; c += 32)
        q[c] = dr_float(a.q[(size_t)query * a.q_ld + (size_t)c]);
    __syncwarp();
    const int keys = keys_seen(a, query + 1);

    for (int first = 0; first < keys; first += 32) {
        const int key = first + lane, count = keys - first < 32 ? keys - first : 32;
        const float s = key < keys ? dot(q, a.k + (size_t)key * a.k_ld, a.d) * a.scale : -INFINITY;
        const float larger = fmaxf(m, dr_warp_max(s)), factor = dr_exp2(m - larger), p = dr_exp2(s - larger);

        l = fmaf(l, factor, dr_warp_sum(p));
        m = larger;
        for (int i = 0; i < LANE_CHANNELS; i++)
            o[i] *= factor;
        for (int j = 0; j < count; j++) {
            const float weight = __shfl_sync(0xffffffff, p, j);
            const T *v = a.v + (size_t)(first + j) * a.v_ld;

            for (int i = 0; i < LANE_CHANNELS; i++)
                if (lane + 32 * i < a.d)
                    o[i] = fmaf(weight, dr_float(v[lane + 32 * i]), o[i]);
        }
    }
    for (int i = 0; i < LANE_CHANNELS; i++)
        if (lane + 32 * i < a.d)
            dr_store(&a.y[(size_t)query * a.y_ld + (size_t)(lane + 32 * i)], o[i] / l);
}

void dr_cuda_attention_any(dr_stream stream, const dr_cuda_attention_args *a)
{
    const dim3 grid(dr_blocks((size_t)a->q_tokens, WARPS), (unsigned)a->heads, (unsigned)a->n);
    const size_t shared_bytes = (size_t)WARPS * (size_t)a->d * sizeof(float);

    DR_WITH_FLOATS(a->dtype, T,
                   dr_launch(stream, DR_KERNEL(attention_any_kernel<T>), grid, THREADS, shared_bytes,
                             attention_of<T>(a)));
}
