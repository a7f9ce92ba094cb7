/* cuda_ptx.h - the instructions for which CUDA C++ has no function, and the 16-bit and 8-bit formats, for
 * sm_80 and up.
 *
 * The tensor cores' product is mma.m16n8k16: C [16, 8] += A [16, 16] B [16, 8], with float32 sums.  A
 * warp holds the three matrices in pieces.  With g = lane / 4, t = lane % 4, and pairs of neighbours in
 * one register, a lane has:
 *
 *     A    a[0] (g, 2t)   a[1] (g + 8, 2t)   a[2] (g, 2t + 8)   a[3] (g + 8, 2t + 8)    pairs along a row
 *     B    b[0] (2t, g)   b[1] (2t + 8, g)                                              pairs down a column
 *     C    c[0], c[1] (g, 2t)   c[2], c[3] (g + 8, 2t)
 *
 * Two C tiles side by side, rounded to pairs, are the A of the next product.  So attention's second
 * product needs no shuffle. */
#ifndef DR_KERNELS_CUDA_PTX_H
#define DR_KERNELS_CUDA_PTX_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>
#include <stdint.h>

/* --- storage ------------------------------------------------------------------------------- */

struct dr_f16 {
    uint16_t bits;
};

struct dr_bf16 {
    uint16_t bits;
};

/* This type is only written here.  Only products read it. */
struct dr_e4m3 {
    uint8_t bits;
};

static __device__ __forceinline__ float dr_float(dr_f16 x)
{
    return __half2float(__ushort_as_half(x.bits));
}

static __device__ __forceinline__ float dr_float(dr_bf16 x)
{
    return __bfloat162float(__ushort_as_bfloat16(x.bits));
}

static __device__ __forceinline__ void dr_store(dr_f16 *to, float x)
{
    to->bits = __half_as_ushort(__float2half_rn(x));
}

static __device__ __forceinline__ void dr_store(dr_bf16 *to, float x)
{
    to->bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

/* Values beyond 448 become 448.  Before sm_89 this takes many instructions. */
static __device__ __forceinline__ void dr_store(dr_e4m3 *to, float x)
{
    to->bits = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
}

/* Rounds two values to one register.  The first argument only selects the type. */
static __device__ __forceinline__ uint32_t dr_pair(dr_f16, float low, float high)
{
    uint32_t pair;

    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

static __device__ __forceinline__ uint32_t dr_pair(dr_bf16, float low, float high)
{
    uint32_t pair;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/* --- tensor cores -------------------------------------------------------------------------- */

#define DR_MMA_(type)                                                     \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type            \
        ".f32 "                                                           \
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                  \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

static __device__ __forceinline__ void dr_mma(dr_f16, float c[4], const uint32_t a[4], const uint32_t b[2])
{
    DR_MMA_("f16");
}

static __device__ __forceinline__ void dr_mma(dr_bf16, float c[4], const uint32_t a[4], const uint32_t b[2])
{
    DR_MMA_("bf16");
}

#undef DR_MMA_

/* Loads four 8 x 8 matrices of 16-bit values from shared memory.  Lane i gives the address of row i % 8
 * of matrix i / 8: 16 aligned bytes. out[m] is the pair (g, 2t), (g, 2t + 1) of matrix m.  Transposed, it
 * is (2t, g), (2t + 1, g). */
static __device__ __forceinline__ void dr_ldmatrix(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

static __device__ __forceinline__ void dr_ldmatrix_transposed(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* --- copies past the registers ------------------------------------------------------------- */

/* Copies 16 bytes to shared memory.  Both ends are aligned.  If the source does not exist, writes zeros. */
static __device__ __forceinline__ void dr_copy_async(void *to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)),
                   "r"(there ? 16 : 0)
                 : "memory");
}

/* The same, but the SM's own cache keeps the bytes: for bytes that its threads will copy again soon. */
static __device__ __forceinline__ void dr_copy_async_cached(void *to, const void *from, bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)),
                   "r"(there ? 16 : 0)
                 : "memory");
}

/* Ends a group of copies. */
static __device__ __forceinline__ void dr_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits for this thread's copies, except for so many of the newest groups.  Other threads' copies are
 * seen after a barrier. */
template <int groups_left> static __device__ __forceinline__ void dr_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

/* --- the rest ------------------------------------------------------------------------------ */

/* 2^x, to 2 ulp.  A result that would be denormal is 0. */
static __device__ __forceinline__ float dr_exp2(float x)
{
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Tells the compiler to load or store all bytes of P at once. */
template <typename P> static __device__ __forceinline__ const P *dr_aligned(const P *at)
{
    return at;
}

/* The block's shared memory, 1024-byte aligned, because a swizzle needs that (cuda_wgmma.h). */
static __device__ __forceinline__ void *dr_shared(void)
{
    extern __shared__ __align__(1024) unsigned char dr_shared_memory[];

    return dr_shared_memory;
}

/* An address as shared memory counts it, from 0. */
static __device__ __forceinline__ uint32_t dr_shared_address(const void *at)
{
    return (uint32_t)__cvta_generic_to_shared(at);
}

enum { DR_SHARED_BYTES_UNASKED = 48 << 10 }; /* a kernel must ask before its blocks get more */

template <typename Args>
static inline void dr_launch(dr_stream stream, const char *, void (*kernel)(Args), dim3 grid,
                             unsigned threads, size_t shared_bytes, const Args &args)
{
    if (shared_bytes > DR_SHARED_BYTES_UNASKED)
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    kernel<<<grid, threads, shared_bytes, stream>>>(args);
}

#endif
