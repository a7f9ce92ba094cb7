/* elementwise.c - operators whose cost is the memory that they read and write. */
#include "ops/cpu/cpu.h"

#include "kernels/elementwise.h"

#include <string.h>

static size_t values(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c;
}

dr_unary_loop *cpu_activation(const cpu_device *cpu, dr_activation activation)
{
    const dr_elementwise_kernels *k = cpu->kernels->elementwise;

    switch (activation) {
    case DR_ACT_NONE:
        return NULL;
    case DR_ACT_SILU:
        return k->silu;
    case DR_ACT_GELU:
        return k->gelu;
    case DR_ACT_QUICK_GELU:
        return k->quick_gelu;
    }
    dr_assert(!"an activation of dr_activation");
}

typedef struct unary_loop {
    dr_unary_loop *activation;
    float *y;
    const float *x;
} unary_loop;

static void activate_piece(void *arg, size_t begin, size_t end, int thread)
{
    const unary_loop *l = arg;

    (void)thread;
    l->activation(l->y + begin, l->x + begin, end - begin);
}

dr_status cpu_activate(dr_pass *p, const dr_activate_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    const size_t n = values(&a->x);
    unary_loop l = { .activation = cpu_activation(cpu, a->activation), .y = a->y.data, .x = a->x.data };

    if (p->planning)
        return DR_OK;
    if (l.activation)
        cpu_for(cpu->threads, n, cpu_grain(1), activate_piece, &l);
    else if (l.y != l.x)
        memcpy(l.y, l.x, n * sizeof(*l.y));
    return DR_OK;
}

/* What a piece of the other operators needs: the operator's arguments, and the kernels. */
typedef struct elementwise_loop {
    const dr_elementwise_kernels *kernels;
    const void *args;
} elementwise_loop;

static dr_status run_loop(dr_pass *p, const void *args, size_t items, size_t item_values, cpu_body *body)
{
    const cpu_device *cpu = cpu_of(p->device);
    elementwise_loop l = { .kernels = cpu->kernels->elementwise, .args = args };

    if (!p->planning)
        cpu_for(cpu->threads, items, cpu_grain(item_values), body, &l);
    return DR_OK;
}

static void scale_piece(void *arg, size_t begin, size_t end, int thread)
{
    const elementwise_loop *l = arg;
    const dr_scale_args *a = l->args;

    (void)thread;
    l->kernels->scale((float *)a->y.data + begin, (const float *)a->x.data + begin, end - begin, a->factor);
}

dr_status cpu_scale(dr_pass *p, const dr_scale_args *a)
{
    dr_assert(a->x.dtype == DR_F32 && a->y.dtype == DR_F32);
    return run_loop(p, a, values(&a->x), 1, scale_piece);
}

static void geglu_piece(void *arg, size_t begin, size_t end, int thread)
{
    const elementwise_loop *l = arg;
    const dr_geglu_args *a = l->args;
    const size_t c = (size_t)a->y.c;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        l->kernels->geglu((float *)a->y.data + i * c, (const float *)a->x.data + i * 2 * c, c);
}

dr_status cpu_geglu(dr_pass *p, const dr_geglu_args *a)
{
    return run_loop(p, a, dr_tensor_pixels(&a->y), (size_t)a->x.c, geglu_piece);
}

static void concat_piece(void *arg, size_t begin, size_t end, int thread)
{
    const elementwise_loop *l = arg;
    const dr_concat_args *args = l->args;
    const size_t ca = (size_t)args->a.c, cb = (size_t)args->b.c;
    const float *a = args->a.data, *b = args->b.data;
    float *y = args->y.data;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        memcpy(y + i * (ca + cb), a + i * ca, ca * sizeof(*y));
        memcpy(y + i * (ca + cb) + ca, b + i * cb, cb * sizeof(*y));
    }
}

dr_status cpu_concat(dr_pass *p, const dr_concat_args *a)
{
    return run_loop(p, a, dr_tensor_pixels(&a->y), (size_t)a->y.c, concat_piece);
}

static void gather_piece(void *arg, size_t begin, size_t end, int thread)
{
    const elementwise_loop *l = arg;
    const dr_gather_args *a = l->args;
    const size_t pixels = (size_t)a->y.h * (size_t)a->y.w, c = (size_t)a->y.c;
    const float *x = a->x.data;
    float *y = a->y.data;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const int32_t row = a->row[i / pixels];

        dr_assert(row >= 0 && row < a->x.n);
        memcpy(y + i * c, x + ((size_t)row * pixels + i % pixels) * c, c * sizeof(*y));
    }
}

dr_status cpu_gather(dr_pass *p, const dr_gather_args *a)
{
    return run_loop(p, a, dr_tensor_pixels(&a->y), (size_t)a->y.c, gather_piece);
}

static bool all_finite(const float *x, size_t n)
{
    int broken = 0;

    for (size_t i = 0; i < n; i++)
        broken |= !(fabsf(x[i]) < INFINITY);
    return !broken;
}

static void to_rgb8_piece(void *arg, size_t begin, size_t end, int thread)
{
    const elementwise_loop *l = arg;
    const dr_to_rgb8_args *a = l->args;

    (void)thread;
    l->kernels->to_rgb8((uint8_t *)a->y.data + begin, (const float *)a->x.data + begin, end - begin);
    if (a->broken && !all_finite((const float *)a->x.data + begin, end - begin))
        __atomic_store_n(a->broken, 1, __ATOMIC_RELAXED); /* other threads may store it at the same time */
}

dr_status cpu_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a)
{
    if (!p->planning && a->broken)
        *a->broken = 0;
    return run_loop(p, a, values(&a->x), 1, to_rgb8_piece);
}
