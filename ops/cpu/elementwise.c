/* elementwise.c - operators whose cost is the memory that they pass over. */
#include "ops/cpu/cpu.h"

#include "kernels/elementwise.h"

#include <string.h>

/* Values that one thread takes at a time, and below which a second thread is not worth waking: 64 KiB pass by
 * in 5 us, a team starts and ends in 1 to 2. */
enum { PIECE = 16384 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t values(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c;
}

typedef void unary_fn(float *y, const float *x, size_t n);

static unary_fn *activation_of(const dr_elementwise_kernels *k, dr_activation activation)
{
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
    return NULL;
}

dr_status cpu_activate(dr_pass *p, const dr_activate_args *a)
{
    unary_fn *activation = activation_of(cpu_of(p->device)->kernels->elementwise, a->activation);
    const size_t n = values(&a->x);
    const float *x = a->x.data;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
    if (!activation) {
        if (y != x)
            memcpy(y, x, n * sizeof(*y));
        return DR_OK;
    }
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE)
        activation(y + i, x + i, least(PIECE, n - i));
    return DR_OK;
}

dr_status cpu_scale(dr_pass *p, const dr_scale_args *a)
{
    const dr_elementwise_kernels *k = cpu_of(p->device)->kernels->elementwise;
    const size_t n = values(&a->x);
    const float *x = a->x.data;
    float *y = a->y.data;

    dr_assert(a->x.dtype == DR_F32 && a->y.dtype == DR_F32);
    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE)
        k->scale(y + i, x + i, least(PIECE, n - i), a->factor);
    return DR_OK;
}

dr_status cpu_geglu(dr_pass *p, const dr_geglu_args *a)
{
    const dr_elementwise_kernels *k = cpu_of(p->device)->kernels->elementwise;
    const size_t pixels = dr_tensor_pixels(&a->y), c = (size_t)a->y.c;
    const float *x = a->x.data;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static) if (pixels * c > PIECE)
    for (size_t i = 0; i < pixels; i++)
        k->geglu(y + i * c, x + i * 2 * c, c);
    return DR_OK;
}

/* One line of y from the line of x that it lies on. */
static void upsample_line(float *y, const float *x, int to, int from, size_t c)
{
    for (int j = 0; j < to; j++)
        memcpy(y + (size_t)j * c, x + (size_t)((int64_t)j * from / to) * c, c * sizeof(*y));
}

dr_status cpu_upsample(dr_pass *p, const dr_upsample_args *a)
{
    const size_t lines = (size_t)a->y.n * (size_t)a->y.h, c = (size_t)a->y.c;
    const size_t x_line = (size_t)a->x.w * c, y_line = (size_t)a->y.w * c;
    const float *x = a->x.data;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static) if (lines * y_line > PIECE)
    for (size_t l = 0; l < lines; l++) {
        const size_t n = l / (size_t)a->y.h, i = l % (size_t)a->y.h;
        const size_t from = n * (size_t)a->x.h + i * (size_t)a->x.h / (size_t)a->y.h;

        upsample_line(y + l * y_line, x + from * x_line, a->y.w, a->x.w, c);
    }
    return DR_OK;
}

dr_status cpu_concat(dr_pass *p, const dr_concat_args *args)
{
    const size_t pixels = dr_tensor_pixels(&args->y);
    const size_t ca = (size_t)args->a.c, cb = (size_t)args->b.c;
    const float *a = args->a.data, *b = args->b.data;
    float *y = args->y.data;

    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static) if (pixels * (ca + cb) > PIECE)
    for (size_t i = 0; i < pixels; i++) {
        memcpy(y + i * (ca + cb), a + i * ca, ca * sizeof(*y));
        memcpy(y + i * (ca + cb) + ca, b + i * cb, cb * sizeof(*y));
    }
    return DR_OK;
}

dr_status cpu_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a)
{
    const dr_elementwise_kernels *k = cpu_of(p->device)->kernels->elementwise;
    const size_t n = values(&a->x);
    const float *x = a->x.data;
    uint8_t *y = a->y.data;

    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE)
        k->to_rgb8(y + i, x + i, least(PIECE, n - i));
    return DR_OK;
}
