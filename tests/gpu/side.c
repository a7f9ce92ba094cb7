#include "tests/gpu/side.h"

#include "base/half.h"
#include "tests/gpu/machine.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

side side_begin(dr_device *device, dr_dtype storage, int first, int rows)
{
    return (side){ .device = device, .storage = storage, .first = first, .rows = rows };
}

void side_end(side *s)
{
    while (s->blocks > 0)
        dr_device_free(s->device, s->block[--s->blocks]);
    while (s->vectors > 0)
        free(s->vector[--s->vectors]);
    while (s->results > 0)
        free(s->kept[--s->results].values);
}

/* --- values ------------------------------------------------------------------------------ */

static void store(dr_dtype dtype, void *memory, size_t i, float value)
{
    if (dtype == DR_F32)
        ((float *)memory)[i] = value;
    else if (dtype == DR_E4M3)
        ((uint8_t *)memory)[i] = dr_e4m3_from_float(value);
    else
        ((uint16_t *)memory)[i] = dtype == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

static float load(dr_dtype dtype, const void *memory, size_t i)
{
    switch (dtype) {
    case DR_F32:
        return ((const float *)memory)[i];
    case DR_F16:
        return dr_float_from_f16(((const uint16_t *)memory)[i]);
    case DR_BF16:
        return dr_float_from_bf16(((const uint16_t *)memory)[i]);
    case DR_E4M3:
        return dr_float_from_e4m3(((const uint8_t *)memory)[i]);
    default:
        return ((const uint8_t *)memory)[i];
    }
}

static float rounded(dr_dtype storage, float value)
{
    uint32_t memory = 0;

    store(storage, &memory, 0, value);
    return load(storage, &memory, 0);
}

/* The seed of row `row` of the tensor with that number.  It does not depend on the other rows. */
static uint32_t seed_of(uint32_t tensor, int row)
{
    return (tensor * 1009u + (uint32_t)row + 1u) * 2654435761u;
}

static float next_value(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

static void *own(side *s, const void *host, size_t bytes)
{
    dr_error err;
    void *memory;

    assert_true(s->blocks < SIDE_BLOCKS_MAX);
    if (dr_device_alloc(&memory, s->device, bytes, &err) ||
        dr_device_upload(s->device, memory, host, bytes, &err))
        fail_msg("%s", err.text);
    return s->block[s->blocks++] = memory;
}

static dr_tensor give(side *s, dr_tensor t, float size)
{
    const size_t row = (size_t)t.h * (size_t)t.w * (size_t)t.ld, size_of = dr_dtype_bytes(t.dtype);
    char *host = malloc((size_t)t.n * row * size_of);
    const int first = s->first * (t.n / s->rows);
    const uint32_t number = s->tensors++;

    assert_non_null(host);
    assert_int_equal(t.n % s->rows, 0);
    for (int n = 0; n < t.n; n++) {
        uint32_t seed = seed_of(number, first + n);

        for (size_t i = 0; i < row; i++)
            store(t.dtype, host, (size_t)n * row + i, rounded(s->storage, size * next_value(&seed)));
    }
    t.data = own(s, host, (size_t)t.n * row * size_of);
    free(host);
    return t;
}

dr_tensor side_view(side *s, int n, int h, int w, int c, int beside, float size)
{
    const dr_dtype dtype = dr_device_activation_dtype(s->device);

    return give(s, (dr_tensor){ .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .ld = c + beside }, size);
}

dr_tensor side_tensor_as(side *s, dr_dtype dtype, int n, int h, int w, int c, float size)
{
    return give(s, (dr_tensor){ .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .ld = c }, size);
}

dr_tensor side_tensor(side *s, int n, int h, int w, int c, float size)
{
    return side_view(s, n, h, w, c, 0, size);
}

dr_tensor side_float_view(side *s, int n, int h, int w, int c, int beside, float size)
{
    return give(s, (dr_tensor){ .dtype = DR_F32, .n = n, .h = h, .w = w, .c = c, .ld = c + beside }, size);
}

dr_tensor side_float_tensor(side *s, int n, int h, int w, int c, float size)
{
    return side_float_view(s, n, h, w, c, 0, size);
}

const float *side_host_vector(side *s, size_t count, float size)
{
    float *values = malloc((count ? count : 1) * sizeof(*values));
    uint32_t seed = seed_of(s->tensors++, -1);

    assert_non_null(values);
    assert_true(s->vectors < SIDE_VECTORS_MAX);
    s->vector[s->vectors++] = values;
    for (size_t i = 0; i < count; i++)
        values[i] = rounded(s->storage, size * next_value(&seed));
    return values;
}

const float *side_vector(side *s, size_t count, float size)
{
    return own(s, side_host_vector(s, count, size), count * sizeof(float));
}

const void *side_upload(side *s, const void *host, size_t bytes)
{
    return own(s, host, bytes);
}

/* --- results ------------------------------------------------------------------------------ */

void side_keep(side *s, dr_tensor t)
{
    const size_t count = dr_tensor_pixels(&t) * (size_t)t.ld, bytes = count * dr_dtype_bytes(t.dtype);
    side_result *r = &s->kept[s->results++];
    void *host = malloc(bytes);
    dr_error err;

    assert_true(s->results <= SIDE_KEPT_MAX);
    *r = (side_result){ .values = malloc(count * sizeof(float)),
                        .dtype = t.dtype,
                        .n = t.n,
                        .pixels = t.h * t.w,
                        .c = t.c,
                        .ld = t.ld };
    assert_true(host && r->values);
    if (dr_device_download(s->device, host, t.data, bytes, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++)
        r->values[i] = load(t.dtype, host, i);
    free(host);
}

double side_rounding(dr_dtype dtype)
{
    return dtype == DR_F32    ? 0x1p-24
           : dtype == DR_F16  ? 0x1p-11
           : dtype == DR_BF16 ? 0x1p-8
           : dtype == DR_E4M3 ? 0x1p-4
                              : 0.0;
}

/* --- a case on both sides ----------------------------------------------------------------- */

/* Opens the devices without their self-check, which would replace a wrong kernel by another.  Here a test
 * must say what is wrong with it. */
static side_pair open_pair(const dr_device_options *options)
{
    dr_device_options unchecked = *options;
    side_pair p = { .cpu =
                        open_isa(DR_ISA_GENERIC) }; /* float32 throughout: AMX has bfloat16 in three parts */
    dr_error err;

    unchecked.unchecked = true;
    if (dr_device_open(&p.gpu, &unchecked, &err))
        fail_msg("%s", err.text);
    return p;
}

side_pair side_pair_open(const char *storage, const char *family)
{
    side_pair p = open_pair(&(dr_device_options){
        .name = "cuda:0", .storage = storage, .convolutions = family, .attention = family });

    p.storage = dr_device_activation_dtype(p.gpu);
    p.by_cudnn = strcmp(family, "cudnn") == 0;
    return p;
}

side_pair side_pair_open_fp8(const char *storage)
{
    side_pair p = open_pair(&(dr_device_options){ .name = "cuda:0", .storage = storage, .fp8 = "all" });

    p.storage = DR_E4M3;
    return p;
}

bool side_has_fp8(void)
{
    dr_device *device;
    dr_error err;
    const dr_status rc =
        dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .fp8 = "all" }, &err);

    if (rc == DR_EUNSUPPORTED)
        print_message("not tested: %s\n", err.text);
    else if (rc)
        fail_msg("%s", err.text);
    else
        dr_device_close(device);
    return !rc;
}

void side_pair_close(side_pair *p)
{
    dr_device_close(p->cpu);
    dr_device_close(p->gpu);
    machine_assert_clean();
}

void side_run(side *s, void (*body)(dr_pass *p, void *args), void *args)
{
    run_pass(s->device, body, args);
}

static void assert_close_sides(const side *got, const side *want, double tolerance, const char *what)
{
    assert_true(got->results > 0 && got->results == want->results);
    for (int k = 0; k < got->results; k++) {
        const side_result *g = &got->kept[k], *w = &want->kept[k];
        const double rounding = side_rounding(g->dtype);
        const size_t pixels = (size_t)g->n * (size_t)g->pixels;

        assert_true(g->n == w->n && g->pixels == w->pixels && g->c == w->c && g->ld == w->ld);
        for (size_t i = 0; i < pixels * (size_t)g->ld; i++) {
            const int channel = (int)(i % (size_t)g->ld);
            const double a = (double)g->values[i], b = (double)w->values[i];
            const double allowed = channel < g->c ? rounding * fabs(b) + tolerance : 0.0;

            if (!(fabs(a - b) <= allowed))
                fail_msg(
                    "%s: pixel %zu, channel %d of %d: %.9g, and the CPU has %.9g: off by %.3g, %.3g is "
                    "allowed",
                    what, i / (size_t)g->ld, channel, g->c, a, b, fabs(a - b), allowed);
        }
    }
}

void side_assert_same_rows(const side *some, const side *all, const char *what)
{
    for (int k = 0; k < all->results; k++) {
        const side_result *a = &some->kept[k], *b = &all->kept[k];
        const size_t values = (size_t)a->n * (size_t)a->pixels * (size_t)a->ld;
        const float *company = b->values + (size_t)(some->first - all->first) * values;

        for (size_t i = 0; i < values; i++)
            if (memcmp(&a->values[i], &company[i], sizeof(float)))
                fail_msg("%s: row %d is not the same in other company: pixel %zu, channel %zu: %.9g and %.9g",
                         what, some->first + (int)(i / (values / (size_t)some->rows)), i / (size_t)a->ld,
                         i % (size_t)a->ld, (double)a->values[i], (double)company[i]);
    }
}

void side_check(const side_pair *p, side_case *run, const void *shape, int rows, double tolerance,
                const char *what)
{
    side cpu = side_begin(p->cpu, p->storage, 0, rows), gpu = side_begin(p->gpu, p->storage, 0, rows);

    run(&cpu, shape);
    run(&gpu, shape);
    assert_close_sides(&gpu, &cpu, tolerance, what);
    for (int row = 0; row < rows && rows > 1; row++) {
        side alone = side_begin(p->gpu, p->storage, row, 1);

        run(&alone, shape);
        side_assert_same_rows(&alone, &gpu, what);
        side_end(&alone);
    }
    side_end(&cpu);
    side_end(&gpu);
}
