/* cuda_device.h - what every .cu file begins with.
 *
 * CUDA's own keywords and the instructions of cuda_ptx.h come from nvcc in the program, and from the host
 * shim in the tests.  A build with the shim names its header (-DDR_CUDA_SHIM='"..."').  The code below is
 * the same in both.
 *
 * A kernel takes one struct.  It is a template over the storage type T (float, dr_f16, dr_bf16), and over
 * the sizes that must be constants, because registers can't be indexed by a variable. */
#ifndef DR_KERNELS_CUDA_DEVICE_H
#define DR_KERNELS_CUDA_DEVICE_H

extern "C" {
#include "base/error.h"
}
#include "kernels/cuda.h"
#include "kernels/host_device.h"

#ifdef DR_CUDA_SHIM
#include DR_CUDA_SHIM
#else
#include "kernels/cuda_ptx.h"
#endif

/* --- values -------------------------------------------------------------------------------- */

static __device__ __forceinline__ float dr_float(float x)
{
    return x;
}

static __device__ __forceinline__ void dr_store(float *to, float x)
{
    *to = x;
}

/* N neighbours that are loaded and stored in one access. */
template <typename T, int N> struct alignas(sizeof(T) * N) dr_pack {
    T at[N];
};

/* How many T make 16 bytes, which is the widest access of a thread. */
template <typename T> struct dr_wide {
    static constexpr int count = 16 / sizeof(T);
};

template <int N, typename T> static __device__ __forceinline__ dr_pack<T, N> dr_load(const T *from)
{
    return *dr_aligned((const dr_pack<T, N> *)from);
}

template <int N, typename T>
static __device__ __forceinline__ void dr_save(T *to, const dr_pack<T, N> &values)
{
    *(dr_pack<T, N> *)dr_aligned((const dr_pack<T, N> *)to) = values;
}

/* N floats of a vector that lies along the channels.  It is aligned where N is a multiple of 4. */
template <int N> static __device__ __forceinline__ void dr_load_floats(float (&to)[N], const float *from)
{
    constexpr int STEP = N % 4 ? 1 : 4;

    for (int i = 0; i < N; i += STEP) {
        const dr_pack<float, STEP> p = dr_load<STEP>(from + i);

        for (int j = 0; j < STEP; j++)
            to[i + j] = p.at[j];
    }
}

/* The same, to floats. */
template <int N> static __device__ __forceinline__ void dr_save_floats(float *to, const float (&from)[N])
{
    constexpr int STEP = N % 4 ? 1 : 4;

    for (int i = 0; i < N; i += STEP) {
        dr_pack<float, STEP> p;

        for (int j = 0; j < STEP; j++)
            p.at[j] = from[i + j];
        dr_save<STEP>(to + i, p);
    }
}

/* --- reductions: always in the same order --------------------------------------------------- */

/* The sum over a warp's lanes, in every lane. */
static __device__ __forceinline__ float dr_warp_sum(float x)
{
    for (int lanes = 16; lanes > 0; lanes /= 2)
        x += __shfl_xor_sync(0xffffffff, x, lanes);
    return x;
}

static __device__ __forceinline__ float dr_warp_max(float x)
{
    for (int lanes = 16; lanes > 0; lanes /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, lanes));
    return x;
}

/* --- launches ------------------------------------------------------------------------------- */

/* dr_launch(stream, DR_KERNEL(kernel<T, 4>), grid, threads, shared_bytes, args): the name is for the shim. */
#define DR_KERNEL(...) #__VA_ARGS__, (__VA_ARGS__)

static inline unsigned dr_blocks(size_t items, size_t of)
{
    return (unsigned)((items + of - 1) / of);
}

/* The number of items, which a kernel counts in 32 bits: to divide a 64-bit index takes longer than to
 * move 16 bytes through memory. */
static inline uint32_t dr_items(size_t items)
{
    dr_assert(items <= INT32_MAX);
    return (uint32_t)items;
}

static inline bool dr_is_aligned(const void *at)
{
    return (uintptr_t)at % 16 == 0;
}

/* Runs the statement with T as the type that stores a dtype. */
#define DR_WITH_FLOATS(dtype, T, ...)                     \
    do {                                                  \
        switch (dtype) {                                  \
        case DR_F32: {                                    \
            typedef float T;                              \
            __VA_ARGS__;                                  \
            break;                                        \
        }                                                 \
        case DR_F16: {                                    \
            typedef dr_f16 T;                             \
            __VA_ARGS__;                                  \
            break;                                        \
        }                                                 \
        case DR_BF16: {                                   \
            typedef dr_bf16 T;                            \
            __VA_ARGS__;                                  \
            break;                                        \
        }                                                 \
        default:                                          \
            dr_assert(!"a dtype that the kernels store"); \
        }                                                 \
    } while (0)

#endif
