/* cuda_operator.h - what the tests of CUDA kernels share: values stored as a device stores them.
 *
 * A test stores float32 values in a dtype, reads the rounded values back, and gives those to the CPU's
 * operator.  So the two results differ only by arithmetic and by the rounding of the result. */
#ifndef DR_TESTS_KERNELS_CUDA_OPERATOR_H
#define DR_TESTS_KERNELS_CUDA_OPERATOR_H

#include "base/half.h"
#include "kernels/cuda.h"
#include "tests/cuda/shim/run.h"
#include "tests/ops/operator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const dr_dtype float_dtypes[] = { DR_F32, DR_F16, DR_BF16 };

static inline const char *dtype_name(dr_dtype dtype)
{
    return dtype == DR_F32 ? "f32" : dtype == DR_F16 ? "f16" : "bf16";
}

/* Half of the distance between neighbours near 1: the relative error of a rounding. */
static inline double rounding_of(dr_dtype dtype)
{
    return dtype == DR_F32 ? 0x1p-24 : dtype == DR_F16 ? 0x1p-11 : 0x1p-8;
}

/* Memory for so many values, filled with one bits, so it is NaN until it is written.  It ends where malloc's
 * block ends.  free() it. */
static inline void *new_stored(dr_dtype dtype, size_t values)
{
    const size_t bytes = values * dr_dtype_bytes(dtype);
    void *memory = malloc(bytes ? bytes : 1);

    dr_assert(memory);
    return memset(memory, 0xff, bytes);
}

static inline void *stored_from(dr_dtype dtype, const float *values, size_t count)
{
    void *memory = new_stored(dtype, count);

    for (size_t i = 0; i < count; i++)
        if (dtype == DR_F32)
            ((float *)memory)[i] = values[i];
        else
            ((uint16_t *)memory)[i] =
                dtype == DR_F16 ? dr_f16_from_float(values[i]) : dr_bf16_from_float(values[i]);
    return memory;
}

static inline float stored_value(dr_dtype dtype, const void *memory, size_t i)
{
    if (dtype == DR_F32)
        return ((const float *)memory)[i];
    return dtype == DR_F16 ? dr_float_from_f16(((const uint16_t *)memory)[i])
                           : dr_float_from_bf16(((const uint16_t *)memory)[i]);
}

/* Stores the values of a float32 tensor in a dtype, and rounds the tensor's values to that dtype. */
static inline void *store_tensor(dr_dtype dtype, const dr_tensor *t)
{
    const size_t count = tensor_values(t);
    float *values = t->data;
    void *memory = stored_from(dtype, values, count);

    for (size_t i = 0; i < count; i++)
        values[i] = stored_value(dtype, memory, i);
    return memory;
}

static inline char *stored_at(dr_dtype dtype, void *memory, size_t i)
{
    return (char *)memory + i * dr_dtype_bytes(dtype);
}

/* The worst of |got - want| beyond what the rounding of the result explains. */
static inline double worst_error(dr_dtype dtype, const void *got, const dr_tensor *want)
{
    const float *w = want->data;
    double worst = 0.0;

    for (size_t i = 0; i < tensor_values(want); i++)
        worst =
            worse(worst, fabs((double)stored_value(dtype, got, i) - w[i]) - rounding_of(dtype) * fabs(w[i]));
    return worst;
}

/* Asserts that each value is the 8-bit rounding of some value within `tolerance` of the wanted one. */
static inline void assert_e4m3(const void *got, const dr_tensor *want, double tolerance, const char *what)
{
    const float *w = want->data;

    for (size_t i = 0; i < tensor_values(want); i++) {
        const float value = dr_float_from_e4m3(((const uint8_t *)got)[i]);
        const float low = dr_float_from_e4m3(dr_e4m3_from_float((float)(w[i] - tolerance)));
        const float high = dr_float_from_e4m3(dr_e4m3_from_float((float)(w[i] + tolerance)));

        if (!(low <= value && value <= high))
            fail_msg("%s: value %zu is %g, and should be %g in 8 bits", what, i, (double)value, (double)w[i]);
    }
}

static inline void assert_shim_is_content(void)
{
    if (shim_error())
        fail_msg("%s", shim_error());
}

/* Runs a group of tests, each with the CPU backend as its state. */
#define RUN_WITH_CPU(name, ...)                                                  \
    do {                                                                         \
        dr_device *device = open_cpu((dr_isa)0, 2);                              \
        const struct CMUnitTest tests[] = { __VA_ARGS__ };                       \
        const int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL); \
                                                                                 \
        dr_device_close(device);                                                 \
        return failed;                                                           \
    } while (0)

#endif
