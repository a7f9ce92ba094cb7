/* product_support.h - what the tests of linear layers and convolutions share: values, a pass that is
 * planned and then run in exactly the memory that it planned, and the instruction sets of this machine. */
#ifndef DR_TESTS_OPS_PRODUCT_SUPPORT_H
#define DR_TESTS_OPS_PRODUCT_SUPPORT_H

#include "kernels/isa.h"
#include "ops/ops.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

/* Values in [-1, 1), always the same for a seed. */
static inline float *random_floats(size_t n, uint32_t seed)
{
    float *x = malloc((n ? n : 1) * sizeof(*x));

    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    return x;
}

/* The device of an instruction set; NULL where this machine lacks it. */
static inline dr_device *open_device(dr_isa isa, int threads)
{
    const dr_kernels *kernels = dr_kernels_of(isa);
    dr_device *device = NULL;
    dr_error err;

    if (!kernels)
        return NULL;
    assert_int_equal(
        dr_device_open(&device,
                       &(dr_device_options){ .name = "cpu", .isa = kernels->isa, .threads = threads }, &err),
        DR_OK);
    return device;
}

static inline dr_tensor tensor_of(float *data, int n, int h, int w, int c, int ld)
{
    return (dr_tensor){ .data = data, .dtype = DR_F32, .n = n, .h = h, .w = w, .c = c, .ld = ld };
}

/* Plays `op` twice: plans it, then runs it in an arena of exactly the planned size.  The arena is filled with
 * values that would show if they were read. */
static inline void plan_and_run(dr_device *device, void (*op)(dr_pass *p, const void *args), const void *args)
{
    dr_arena arena;
    dr_pass p = { .device = device, .arena = &arena, .planning = true };
    size_t planned;
    void *memory;
    dr_error err;

    dr_arena_init(&arena, NULL, SIZE_MAX);
    op(&p, args);
    assert_int_equal(p.error.status, DR_OK);
    assert_int_equal(arena.live, 0);
    planned = arena.peak;
    assert_int_equal(dr_device_alloc(&memory, device, planned, &err), DR_OK);
    memset(memory, 0xff, planned); /* NaN */
    dr_arena_init(&arena, memory, planned);
    p.planning = false;
    op(&p, args);
    assert_int_equal(p.error.status, DR_OK);
    assert_int_equal(arena.peak, planned);
    assert_int_equal(arena.live, 0);
    dr_device_free(device, memory);
}

/* How far a sum of k products of values in [-1, 1) may be from the exact one; such a sum is about sqrt(k)
 * / 3.
 *
 * In float32 and in order, the error is a random walk of k roundings of the partial sums.  AMX has a
 * relative RMS error of 4.6e-6 from splitting its operands (kernels/matmul_amx.c).  Six standard
 * deviations of both, and eight roundings for what comes after: bias, activation (Lipschitz constant below
 * 1.13), residual. */
static inline double sum_tolerance(dr_isa isa, int k)
{
    const double sum = sqrt(k) / 3;
    const double walk = (FLT_EPSILON / 2) * sqrt(k) * sum, split = isa == DR_ISA_AMX ? 4.6e-6 * sum : 0;

    return 6 * (walk + split) + 8 * FLT_EPSILON * (2 + 4 * sum);
}

#endif
