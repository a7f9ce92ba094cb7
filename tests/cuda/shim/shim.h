/* shim.h - what a .cu file finds in place of CUDA when g++ compiles it for the tests.
 *
 * It has only what our kernels use, under CUDA's names, and the functions of kernels/cuda_ptx.h, under their
 * names.  kernels/cuda_device.h includes this where the build defines DR_CUDA_SHIM.  See run.h. */
#ifndef DR_TESTS_CUDA_SHIM_SHIM_H
#define DR_TESTS_CUDA_SHIM_SHIM_H

#include "base/half.h"
#include "tests/cuda/shim/run.h"

#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct shim_index {
    unsigned x;
};
#define threadIdx (shim_index{ shim_thread_index() })
#define blockIdx shim_block_index()
#define blockDim (shim_index{ shim_running()->threads })
#define gridDim shim_running()->blocks

typedef struct CUstream_st *dr_stream;

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

/* --- waiting for others -------------------------------------------------------------------- */

static inline void __syncthreads(int line = __builtin_LINE())
{
    shim_barrier(line);
}

static inline void __syncwarp(unsigned mask = 0xffffffff, int line = __builtin_LINE())
{
    shim_together(&shim_syncwarp_instruction, mask, line, NULL);
}

template <typename T> static inline T shim_shuffle_from(unsigned mask, T value, int source, int line)
{
    shim_shuffle s = { 0, source };

    static_assert(sizeof(T) == 4, "shuffles move 32 bits");
    memcpy(&s.value, &value, 4);
    shim_together(&shim_shuffle_instruction, mask, line, &s);
    memcpy(&value, &s.value, 4);
    return value;
}

template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int line = __builtin_LINE())
{
    return shim_shuffle_from(mask, value, source, line);
}

template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int line = __builtin_LINE())
{
    return shim_shuffle_from(mask, value, (int)(threadIdx.x % 32) ^ lanes, line);
}

/* --- kernels/cuda_ptx.h -------------------------------------------------------------------- */

static inline float dr_exp2(float x)
{
    return exp2f(x);
}

static inline void dr_ldmatrix(uint32_t out[4], const void *row, int line = __builtin_LINE())
{
    shim_ldmatrix l = { row, false, {} };

    shim_together(&shim_ldmatrix_instruction, 0xffffffff, line, &l);
    memcpy(out, l.out, sizeof(l.out));
}

static inline void dr_ldmatrix_transposed(uint32_t out[4], const void *row, int line = __builtin_LINE())
{
    shim_ldmatrix l = { row, true, {} };

    shim_together(&shim_ldmatrix_instruction, 0xffffffff, line, &l);
    memcpy(out, l.out, sizeof(l.out));
}

static inline void dr_copy_async(void *to, const void *from, bool there)
{
    shim_copy_async(to, there ? from : NULL);
}

static inline void dr_copy_async_cached(void *to, const void *from, bool there)
{
    dr_copy_async(to, from, there);
}

static inline void dr_copy_commit(void)
{
    shim_copy_commit();
}

template <int groups_left> static inline void dr_copy_wait(void)
{
    shim_copy_wait(groups_left);
}

/* --- storage ------------------------------------------------------------------------------- */

struct dr_f16 {
    uint16_t bits;
};

struct dr_bf16 {
    uint16_t bits;
};

struct dr_e4m3 {
    uint8_t bits;
};

static inline float dr_float(dr_f16 x)
{
    return dr_float_from_f16(x.bits);
}

static inline float dr_float(dr_bf16 x)
{
    return dr_float_from_bf16(x.bits);
}

static inline void dr_store(dr_f16 *to, float x)
{
    to->bits = dr_f16_from_float(x);
}

static inline void dr_store(dr_bf16 *to, float x)
{
    to->bits = dr_bf16_from_float(x);
}

static inline void dr_store(dr_e4m3 *to, float x)
{
    to->bits = dr_e4m3_from_float(x);
}

static inline uint32_t dr_pair(dr_f16, float low, float high)
{
    return dr_f16_from_float(low) | (uint32_t)dr_f16_from_float(high) << 16;
}

static inline uint32_t dr_pair(dr_bf16, float low, float high)
{
    return dr_bf16_from_float(low) | (uint32_t)dr_bf16_from_float(high) << 16;
}

static inline void dr_mma(dr_f16, float c[4], const uint32_t a[4], const uint32_t b[2],
                          int line = __builtin_LINE())
{
    shim_mma m = { a, b, c, false };

    shim_together(&shim_mma_instruction, 0xffffffff, line, &m);
}

static inline void dr_mma(dr_bf16, float c[4], const uint32_t a[4], const uint32_t b[2],
                          int line = __builtin_LINE())
{
    shim_mma m = { a, b, c, true };

    shim_together(&shim_mma_instruction, 0xffffffff, line, &m);
}

/* --- kernels/cuda_wgmma.h ------------------------------------------------------------------ */

static inline uint32_t dr_shared_address(const void *at)
{
    return shim_shared_address(at);
}

static inline void dr_async_proxy_fence(void)
{
    shim_async_proxy_fence();
}

static inline void shim_warpgroup_together(const shim_instruction *instruction, int line, void *operands)
{
    shim_together(instruction, 0xffffffff, line, operands);
}

/* No product changes a register before its wait here, so nothing need be held. */
template <typename... R> static inline void dr_wgmma_fence(R &...)
{
    shim_warpgroup_together(&shim_wgmma_fence_instruction, 0, NULL);
}

static inline void dr_wgmma_commit(int line = __builtin_LINE())
{
    shim_warpgroup_together(&shim_wgmma_commit_instruction, line, NULL);
}

template <int groups_left, typename... R> static inline void dr_wgmma_wait(R &...)
{
    int left = groups_left;

    shim_warpgroup_together(&shim_wgmma_wait_instruction, 0, &left);
}

static inline shim_format shim_format_of(dr_f16)
{
    return SHIM_F16;
}

static inline shim_format shim_format_of(dr_bf16)
{
    return SHIM_BF16;
}

static inline shim_format shim_format_of(dr_e4m3)
{
    return SHIM_E4M3;
}

template <int N, int A_MAJOR, int B_MAJOR, typename T>
static inline void dr_wgmma(T type, float (&d)[N / 2], uint64_t a, uint64_t b, bool add)
{
    shim_wgmma w = { d, NULL, a, b, N, A_MAJOR != 0, B_MAJOR != 0, add, shim_format_of(type) };

    shim_warpgroup_together(&shim_wgmma_instruction, 0, &w);
}

template <int N, int A_MAJOR, int B_MAJOR, typename T>
static inline void dr_wgmma(T type, float (&d)[N / 2], uint64_t a, uint64_t b)
{
    dr_wgmma<N, A_MAJOR, B_MAJOR>(type, d, a, b, false);
}

template <int N, int B_MAJOR, typename T>
static inline void dr_wgmma(T type, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool add)
{
    shim_wgmma w = { d, a, 0, b, N, false, B_MAJOR != 0, add, shim_format_of(type) };

    shim_warpgroup_together(&shim_wgmma_instruction, 0, &w);
}

template <int N, int B_MAJOR, typename T>
static inline void dr_wgmma(T type, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b)
{
    dr_wgmma<N, B_MAJOR>(type, d, a, b, false);
}

/* Checks a load or store of so many bytes at once.  On a GPU a misaligned one would end the context. */
template <typename P> static inline const P *dr_aligned(const P *at)
{
    if ((uintptr_t)at % alignof(P))
        shim_fail("%zu bytes at %p, which is not aligned", sizeof(P), (const void *)at);
    return at;
}

/* --- launches ------------------------------------------------------------------------------ */

static inline void *dr_shared(void)
{
    return shim_shared();
}

template <typename Args> struct shim_call {
    void (*kernel)(Args);
    Args args;
    static void run(const void *call)
    {
        ((const shim_call *)call)->kernel(((const shim_call *)call)->args);
    }
};

template <typename Args>
static inline void dr_launch(dr_stream stream, const char *name, void (*kernel)(Args), dim3 grid,
                             unsigned threads, size_t shared_bytes, const Args &args)
{
    const shim_call<Args> call = { kernel, args };
    const shim_grid launch = { name,         { grid.x, grid.y, grid.z }, threads,
                               shared_bytes, shim_call<Args>::run,       &call,
                               sizeof(call) };

    shim_launch(stream, &launch);
}

#endif
