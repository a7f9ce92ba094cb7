/* operator.h - calls one operator as a pass does: plans it first, then runs it in exactly the memory that the
 * plan asked for.  For tests and benchmarks.  Every failure is a failed assertion. */
#ifndef DR_TESTS_OPS_OPERATOR_H
#define DR_TESTS_OPS_OPERATOR_H

#include "kernels/isa.h"
#include "ops/ops.h"

#include <stdint.h>
#include <stdlib.h>

/* OPERATE(device, dr_scale, &(dr_scale_args){ ... }) */
#define OPERATE(device, operator, ...)   \
    do {                                 \
        operation o_;                    \
        plan(&o_, device);               \
        operator(&o_.pass, __VA_ARGS__); \
        play(&o_);                       \
        operator(&o_.pass, __VA_ARGS__); \
        finish(&o_);                     \
    } while (0)

typedef struct operation {
    dr_pass pass;
    dr_arena arena;
    void *memory;
} operation;

static inline void plan(operation *o, dr_device *device)
{
    *o = (operation){ .pass = { .device = device, .arena = &o->arena, .planning = true } };
    dr_arena_init(&o->arena, NULL, SIZE_MAX);
}

static inline void play(operation *o)
{
    const size_t bytes = o->arena.peak;
    dr_status rc;
    dr_error err;

    dr_assert(o->pass.error.status == DR_OK && o->arena.live == 0);
    rc = dr_device_alloc(&o->memory, o->pass.device, bytes, &err);
    dr_assert(rc == DR_OK);
    dr_arena_init(&o->arena, o->memory, bytes);
    o->pass.planning = false;
}

static inline void finish(operation *o)
{
    dr_assert(o->pass.error.status == DR_OK && o->arena.live == 0);
    dr_device_free(o->pass.device, o->memory);
}

/* NULL where this machine lacks the instruction set. */
static inline dr_device *open_cpu(dr_isa isa, int threads)
{
    const dr_kernels *kernels = dr_kernels_of(isa);
    dr_device *device = NULL;
    dr_error err;

    if (!kernels)
        return NULL;
    const dr_status rc =
        dr_device_open(&device,
                       &(dr_device_options){ .name = "cpu", .threads = threads, .isa = kernels->isa }, &err);
    dr_assert(rc == DR_OK);
    return device;
}

/* A dense float32 tensor of host memory, to be freed with free(t.data). */
static inline dr_tensor new_tensor(int n, int h, int w, int c)
{
    dr_tensor t = { .dtype = DR_F32, .n = n, .h = h, .w = w, .c = c, .ld = c };

    t.data = malloc(dr_tensor_pixels(&t) * (size_t)c * sizeof(float) + 1);
    dr_assert(t.data);
    return t;
}

static inline size_t tensor_values(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c;
}

/* Returns the larger error.  If either is NaN the result is NaN, so that no tolerance lets it pass. */
static inline double worse(double a, double b)
{
    return a != a || b <= a ? a : b;
}

/* Uniform in [-1, 1), the same on every machine. */
static inline float random_value(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

static inline dr_tensor random_tensor(int n, int h, int w, int c, uint32_t seed)
{
    dr_tensor t = new_tensor(n, h, w, c);

    for (size_t i = 0; i < tensor_values(&t); i++)
        ((float *)t.data)[i] = random_value(&seed);
    return t;
}

#endif
