/* cuda_wgmma.h - Hopper's matrix product, wgmma. 128 threads start a product of matrices in shared
 * memory, and go on while it is computed.
 *
 *     D [64, N] = A [64, 16] B [16, N] (+ D)        f16 or bf16 products, float32 sums
 *     D [64, N] = A [64, 32] B [32, N] (+ D)        e4m3 products, sums of 14 bits or so: see below
 *
 * Four warps are a warpgroup if the number of the first is divisible by four.  All 128 threads execute
 * every function here together.  With g = lane / 4, t = lane % 4, and pairs of neighbours in one
 * register, warp w of the four has rows 16 w to 16 w + 15:
 *
 *     A    a[0] (g, 2t)   a[1] (g + 8, 2t)   a[2] (g, 2t + 8)   a[3] (g + 8, 2t + 8)
 *     D    d[4 j], d[4 j + 1] (g, 8 j + 2t)   d[4 j + 2], d[4 j + 3] (g + 8, 8 j + 2t)          j < N / 8
 *
 * These are the places that mma.m16n8k16 uses too (cuda_ptx.h), so two D tiles, rounded to pairs, are the
 * A of the next product.  For 8-bit values, both A and B are in shared memory and K-major.
 *
 * B, and A where it is not in registers, are read from shared memory in chunks of 16 bytes: 8 values
 * along K (K-major) or along M or N (MN-major).  The descriptor of a matrix has a start address, two
 * strides, and a swizzle of W = 128, 64 or 32 bytes or none.  In the K-major form, chunk c (0 or 1)
 * belongs to row r of A or column r of B.  In the MN-major form, chunk c belongs to line k of K, and c
 * counts 8 rows or columns.  To the start address of the descriptor, a chunk's place adds
 *
 *     K-major,  none    r % 8 * 16 + r / 8 * STRIDE + c * LEADING        the next 16 of K: 2 LEADING bytes on
 *     K-major,  W       r % 8 * W  + r / 8 * STRIDE + c * 16             32 bytes on
 *     MN-major, none    k % 8 * 16 + k / 8 * LEADING + c * STRIDE        2 LEADING
 *     MN-major, W       k % 8 * W  + k / 8 * STRIDE + c % (W / 16) * 16 + c / (W / 16) * LEADING    2 STRIDE
 *
 * Then bits 4, 5, 6 of the address are replaced by their exclusive or with its bits 7, 8, 9.  (W = 64:
 * only two of these bits; W = 32: only one.)
 *
 *     128      chunk  0 1 2 3 4 5 6 7         A pattern of 8 W bytes starts at a multiple of 8 W.
 *     row 0     at    0 1 2 3 4 5 6 7         dr_swizzled() finds what lies in it.  8 rows of one chunk
 *     row 1           1 0 3 2 5 4 7 6         are in 8 different places of the 128 bytes that memory
 *     row 2           2 3 0 1 6 7 4 5         delivers at once.  Without a swizzle 8 rows of one chunk
 *     ...                                     are 128 bytes themselves.
 *     row 7           7 6 5 4 3 2 1 0
 *
 * The order of things:
 *
 *     dr_async_proxy_fence()      by whoever wrote the shared memory (dr_copy_wait(), stores), then a barrier
 *     dr_wgmma_fence(d, a)        before products: what threads did to the registers is done
 *     dr_wgmma<N, ...>(...)       any number; those of one d add up in order
 *     dr_wgmma_commit()           ends a group
 *     dr_wgmma_wait<left>(d)      all groups but the newest `left` are done
 *
 * Between the start and the wait, d, a and the memory belong to the product.  Threads must neither read
 * nor write them.
 *
 * When the tensor cores add 8-bit products, they align them to the largest product and keep 13 bits
 * behind its first bit ("DeepSeek-V3 Technical Report", 2024, section 3.3.2).  So a long sum must be cut
 * into pieces, which are added in float32.
 *
 * Sources: PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions"; the
 * canonical layouts as in CUTLASS, cute/atom/mma_traits_sm90_gmma.hpp and cute/arch/mma_sm90_desc.hpp.
 *
 * Only sm_90a has the instruction.  For other GPUs this code compiles, but it traps when it runs.  The
 * launchers look at the device and choose. */
#ifndef DR_KERNELS_CUDA_WGMMA_H
#define DR_KERNELS_CUDA_WGMMA_H

#include "kernels/cuda_device.h"

enum { DR_WARPGROUP = 128 };

typedef enum dr_major {
    DR_K_MAJOR = 0,
    DR_MN_MAJOR = 1,
} dr_major;

/* W, in the form that a descriptor needs. */
typedef enum dr_swizzle {
    DR_SWIZZLE_NONE = 0,
    DR_SWIZZLE_128 = 1,
    DR_SWIZZLE_64 = 2,
    DR_SWIZZLE_32 = 3,
} dr_swizzle;

/* A swizzle moves the 16 bytes that would be `bytes` after the start of their pattern.  This is where
 * they are then. */
template <dr_swizzle SWIZZLE> static __device__ __forceinline__ uint32_t dr_swizzled(uint32_t bytes)
{
    constexpr uint32_t MASK = SWIZZLE == DR_SWIZZLE_NONE ? 0 : (16u >> SWIZZLE) - 1;

    return bytes ^ (bytes >> 7 & MASK) << 4;
}

/* The descriptor of a matrix at `start`, which is 16-byte aligned.  With a swizzle the K-major form does
 * not use LEADING: pass 16. */
template <dr_swizzle SWIZZLE, uint32_t LEADING, uint32_t STRIDE>
static __device__ __forceinline__ uint64_t dr_wgmma_matrix(const void *start)
{
    static_assert(LEADING % 16 == 0 && STRIDE % 16 == 0 && LEADING < 1 << 18 && STRIDE < 1 << 18,
                  "14 bits for multiples of 16");
    constexpr uint64_t SHAPE =
        (uint64_t)SWIZZLE << 62 | (uint64_t)(STRIDE / 16) << 32 | (uint64_t)(LEADING / 16) << 16;

    return SHAPE | (dr_shared_address(start) & 0x3ffff) >> 4;
}

/* The descriptor of the same matrix so many bytes further.  The number is a multiple of 16. */
static __device__ __forceinline__ uint64_t dr_wgmma_moved(uint64_t matrix, uint32_t bytes)
{
    return matrix + (bytes >> 4);
}

#ifndef DR_CUDA_SHIM /* the shim has its own versions of these functions */

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define DR_SM90A_(...) asm volatile(__VA_ARGS__)
#else
#define DR_SM90A_(...) (__trap(), __builtin_unreachable())
#endif

/* After the next barrier, products can read what this thread has written to shared memory. */
static __device__ __forceinline__ void dr_async_proxy_fence(void)
{
    DR_SM90A_("fence.proxy.async.shared::cta;" ::: "memory");
}

/* The compiler moves no use of these registers past this point.  It does not know that a product uses
 * them for longer than its instruction. */
static __device__ __forceinline__ void dr_wgmma_hold(float &x)
{
    asm volatile("" : "+f"(x)::"memory");
}

static __device__ __forceinline__ void dr_wgmma_hold(uint32_t &x)
{
    asm volatile("" : "+r"(x)::"memory");
}

template <typename R, int COUNT> static __device__ __forceinline__ void dr_wgmma_hold(R (&x)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        dr_wgmma_hold(x[i]);
}

template <typename... R> static __device__ __forceinline__ void dr_wgmma_fence(R &...registers)
{
    (dr_wgmma_hold(registers), ...);
    DR_SM90A_("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void dr_wgmma_commit(void)
{
    DR_SM90A_("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int groups_left, typename... R>
static __device__ __forceinline__ void dr_wgmma_wait(R &...registers)
{
    DR_SM90A_("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_left) : "memory");
    (dr_wgmma_hold(registers), ...);
}

/* The registers of D, in the instruction's text and as its operands.  Each size is made of the one before
 * and some more. */
#define DR_D8_ "%0, %1, %2, %3"
#define DR_D16_ DR_D8_ ", %4, %5, %6, %7"
#define DR_D24_ DR_D16_ ", %8, %9, %10, %11"
#define DR_D32_ DR_D24_ ", %12, %13, %14, %15"
#define DR_D40_ DR_D32_ ", %16, %17, %18, %19"
#define DR_D48_ DR_D40_ ", %20, %21, %22, %23"
#define DR_D56_ DR_D48_ ", %24, %25, %26, %27"
#define DR_D64_ DR_D56_ ", %28, %29, %30, %31"
#define DR_D80_ DR_D64_ ", %32, %33, %34, %35, %36, %37, %38, %39"
#define DR_D96_ DR_D80_ ", %40, %41, %42, %43, %44, %45, %46, %47"
#define DR_D112_ DR_D96_ ", %48, %49, %50, %51, %52, %53, %54, %55"
#define DR_D128_ DR_D112_ ", %56, %57, %58, %59, %60, %61, %62, %63"
#define DR_D144_ DR_D128_ ", %64, %65, %66, %67, %68, %69, %70, %71"
#define DR_D160_ DR_D144_ ", %72, %73, %74, %75, %76, %77, %78, %79"
#define DR_D176_ DR_D160_ ", %80, %81, %82, %83, %84, %85, %86, %87"
#define DR_D192_ DR_D176_ ", %88, %89, %90, %91, %92, %93, %94, %95"
#define DR_D208_ DR_D192_ ", %96, %97, %98, %99, %100, %101, %102, %103"
#define DR_D224_ DR_D208_ ", %104, %105, %106, %107, %108, %109, %110, %111"
#define DR_D240_ DR_D224_ ", %112, %113, %114, %115, %116, %117, %118, %119"
#define DR_D256_ DR_D240_ ", %120, %121, %122, %123, %124, %125, %126, %127"

#define DR_R4_(c, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define DR_R8_(c, i) DR_R4_(c, i), DR_R4_(c, i + 4)
#define DR_R16_(c, i) DR_R8_(c, i), DR_R8_(c, i + 8)
#define DR_R32_(c, i) DR_R16_(c, i), DR_R16_(c, i + 16)
#define DR_R64_(c, i) DR_R32_(c, i), DR_R32_(c, i + 32)
#define DR_L8_(c) DR_R4_(c, 0)
#define DR_L16_(c) DR_R8_(c, 0)
#define DR_L24_(c) DR_R8_(c, 0), DR_R4_(c, 8)
#define DR_L32_(c) DR_R16_(c, 0)
#define DR_L40_(c) DR_R16_(c, 0), DR_R4_(c, 16)
#define DR_L48_(c) DR_R16_(c, 0), DR_R8_(c, 16)
#define DR_L64_(c) DR_R32_(c, 0)
#define DR_L80_(c) DR_R32_(c, 0), DR_R8_(c, 32)
#define DR_L96_(c) DR_R32_(c, 0), DR_R16_(c, 32)
#define DR_L128_(c) DR_R64_(c, 0)
#define DR_L160_(c) DR_R64_(c, 0), DR_R16_(c, 64)
#define DR_L192_(c) DR_R64_(c, 0), DR_R32_(c, 64)
#define DR_L224_(c) DR_R64_(c, 0), DR_R32_(c, 64), DR_R16_(c, 96)
#define DR_L256_(c) DR_R64_(c, 0), DR_R64_(c, 64)

#define DR_OUT_(x) "=f"(x)
#define DR_IN_OUT_(x) "+f"(x)

/* The products of each N: with A in shared memory and in registers, for both types. */
template <int N> struct dr_wgmma_size;

#define DR_WGMMA_TEXT_(N, K, type, predicate) \
    "{\n.reg .pred p;\n"                      \
    "setp.ne.b32 p, %" #predicate             \
    ", 0;\n"                                  \
    "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." type "." type " {" DR_D##N##_ "}, "

/* i0 to i6: the numbers of the operands after those of D. */
#define DR_WGMMA_TYPE_(name, c, T, type, N, i0, i1, i2, i3, i4, i5, i6)                                    \
    template <dr_major A_MAJOR, dr_major B_MAJOR>                                                          \
    static __device__ __forceinline__ void name(T, float(&d)[N / 2], uint64_t a, uint64_t b, bool add)     \
    {                                                                                                      \
        DR_SM90A_(DR_WGMMA_TEXT_(N, 16, type, i2) "%" #i0 ", %" #i1 ", p, 1, 1, %" #i3 ", %" #i4 ";\n}"    \
                  : DR_L##N##_(c)                                                                          \
                  : "l"(a), "l"(b), "r"((int)add), "n"((int)A_MAJOR), "n"((int)B_MAJOR));                  \
    }                                                                                                      \
                                                                                                           \
    template <dr_major B_MAJOR>                                                                            \
    static __device__ __forceinline__ void name(T, float(&d)[N / 2], const uint32_t(&a)[4], uint64_t b,    \
                                                bool add)                                                  \
    {                                                                                                      \
        DR_SM90A_(DR_WGMMA_TEXT_(N, 16, type, i5) "{%" #i0 ", %" #i1 ", %" #i2 ", %" #i3 "}, %" #i4        \
                                                  ", p, 1, 1, %" #i6 ";\n}"                                \
                  : DR_L##N##_(c)                                                                          \
                  : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add), "n"((int)B_MAJOR)); \
    }

/* For 8-bit values: without the operands for majors, because only K-major is possible. */
#define DR_WGMMA_E4M3_(name, c, N, i0, i1, i2, i3, i4, i5, i6)                                               \
    template <dr_major A_MAJOR, dr_major B_MAJOR>                                                            \
    static __device__ __forceinline__ void name(dr_e4m3, float(&d)[N / 2], uint64_t a, uint64_t b, bool add) \
    {                                                                                                        \
        static_assert(A_MAJOR == DR_K_MAJOR && B_MAJOR == DR_K_MAJOR, "8-bit values lie along K");           \
        DR_SM90A_(DR_WGMMA_TEXT_(N, 32, "e4m3", i2) "%" #i0 ", %" #i1 ", p, 1, 1;\n}"                        \
                  : DR_L##N##_(c)                                                                            \
                  : "l"(a), "l"(b), "r"((int)add));                                                          \
    }

#define DR_WGMMA_SIZE_(N, ...)                                              \
    template <> struct dr_wgmma_size<N> {                                   \
        DR_WGMMA_TYPE_(set, DR_OUT_, dr_f16, "f16", N, __VA_ARGS__)         \
        DR_WGMMA_TYPE_(set, DR_OUT_, dr_bf16, "bf16", N, __VA_ARGS__)       \
        DR_WGMMA_TYPE_(add_to, DR_IN_OUT_, dr_f16, "f16", N, __VA_ARGS__)   \
        DR_WGMMA_TYPE_(add_to, DR_IN_OUT_, dr_bf16, "bf16", N, __VA_ARGS__) \
        DR_WGMMA_E4M3_(set, DR_OUT_, N, __VA_ARGS__)                        \
        DR_WGMMA_E4M3_(add_to, DR_IN_OUT_, N, __VA_ARGS__)                  \
    };

DR_WGMMA_SIZE_(8, 4, 5, 6, 7, 8, 9, 10)
DR_WGMMA_SIZE_(16, 8, 9, 10, 11, 12, 13, 14)
DR_WGMMA_SIZE_(24, 12, 13, 14, 15, 16, 17, 18)
DR_WGMMA_SIZE_(32, 16, 17, 18, 19, 20, 21, 22)
DR_WGMMA_SIZE_(40, 20, 21, 22, 23, 24, 25, 26)
DR_WGMMA_SIZE_(48, 24, 25, 26, 27, 28, 29, 30)
DR_WGMMA_SIZE_(64, 32, 33, 34, 35, 36, 37, 38)
DR_WGMMA_SIZE_(80, 40, 41, 42, 43, 44, 45, 46)
DR_WGMMA_SIZE_(96, 48, 49, 50, 51, 52, 53, 54)
DR_WGMMA_SIZE_(128, 64, 65, 66, 67, 68, 69, 70)
DR_WGMMA_SIZE_(160, 80, 81, 82, 83, 84, 85, 86)
DR_WGMMA_SIZE_(192, 96, 97, 98, 99, 100, 101, 102)
DR_WGMMA_SIZE_(224, 112, 113, 114, 115, 116, 117, 118)
DR_WGMMA_SIZE_(256, 128, 129, 130, 131, 132, 133, 134)

/* d = a b, with a in shared memory or in registers.  The old contents of d's registers are no operand of
 * these instructions.  If they were an operand, and were changed while other products were on their way,
 * ptxas would let no product run beside another (its message C7515). */
template <int N, dr_major A_MAJOR, dr_major B_MAJOR, typename T>
static __device__ __forceinline__ void dr_wgmma(T type, float (&d)[N / 2], uint64_t a, uint64_t b)
{
    dr_wgmma_size<N>::template set<A_MAJOR, B_MAJOR>(type, d, a, b, false);
}

template <int N, dr_major B_MAJOR, typename T>
static __device__ __forceinline__ void dr_wgmma(T type, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b)
{
    dr_wgmma_size<N>::template set<B_MAJOR>(type, d, a, b, false);
}

/* d = d + a b.  Without `add`, d = a b. */
template <int N, dr_major A_MAJOR, dr_major B_MAJOR, typename T>
static __device__ __forceinline__ void dr_wgmma(T type, float (&d)[N / 2], uint64_t a, uint64_t b, bool add)
{
    dr_wgmma_size<N>::template add_to<A_MAJOR, B_MAJOR>(type, d, a, b, add);
}

template <int N, dr_major B_MAJOR, typename T>
static __device__ __forceinline__ void dr_wgmma(T type, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,
                                                bool add)
{
    dr_wgmma_size<N>::template add_to<B_MAJOR>(type, d, a, b, add);
}

#undef DR_WGMMA_SIZE_
#undef DR_WGMMA_E4M3_
#undef DR_WGMMA_TYPE_
#undef DR_WGMMA_TEXT_
#undef DR_IN_OUT_
#undef DR_OUT_
#undef DR_R64_
#undef DR_R32_
#undef DR_R16_
#undef DR_R8_
#undef DR_R4_
#undef DR_SM90A_

#endif /* DR_CUDA_SHIM */

#endif
