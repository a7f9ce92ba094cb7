#include "tests/support/support.h"

#include "model/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count(dr_tensor t)
{
    return dr_tensor_pixels(&t) * (size_t)t.c;
}

/* --- goldens ----------------------------------------------------------------------- */

const char *const golden_models[GOLDEN_MODELS] = { "sd1", "sd2", "inpaint", "upscale" };

const char *golden_path(const char *format, ...)
{
    static char path[512];
    const int root = snprintf(path, sizeof(path), "tests/goldens/");
    va_list args;

    va_start(args, format);
    const int rest = vsnprintf(path + root, sizeof(path) - (size_t)root, format, args);
    va_end(args);
    assert_true(rest > 0 && root + rest < (int)sizeof(path));
    return path;
}

json_t *golden_json(const char *name)
{
    dr_error err = { 0 };
    json_t *json;

    if (dr_json_read(&json, golden_path("data/%s", name), &err))
        fail_msg("%s", err.text);
    return json;
}

dr_weights *golden_weights(const char *name)
{
    dr_error err = { 0 };
    dr_weights *w;

    if (dr_weights_open_file(&w, golden_path("data/%s", name), &err))
        fail_msg("%s", err.text);
    return w;
}

/* From [n, c, pixels] to [n, pixels, c]; frees its argument. */
static float *channels_last(float *values, const dr_tensor *t)
{
    const size_t channels = (size_t)t->c, pixels = (size_t)t->h * (size_t)t->w;
    float *out = malloc((size_t)t->n * channels * pixels * sizeof(*out));

    assert_non_null(out);
    for (size_t n = 0; n < (size_t)t->n; n++)
        for (size_t c = 0; c < channels; c++)
            for (size_t i = 0; i < pixels; i++)
                out[(n * pixels + i) * channels + c] = values[(n * channels + c) * pixels + i];
    free(values);
    return out;
}

float *golden_read(const dr_weights *w, const char *name, dr_tensor *shape)
{
    dr_error err = { 0 };
    dr_weight_info info;
    float *values;

    if (!dr_weights_find(w, name, &info))
        fail_msg("no golden called %s", name);
    assert_in_range(info.dims, 3, 4);
    *shape = (dr_tensor){ .dtype = DR_F32, .n = (int)info.shape[0], .h = 1 };
    if (info.dims == 4) {
        shape->c = (int)info.shape[1];
        shape->h = (int)info.shape[2];
    } else {
        shape->c = (int)info.shape[2];
    }
    shape->w = (int)info.shape[info.dims == 4 ? 3 : 1];
    shape->ld = shape->c;
    values = malloc(count(*shape) * sizeof(*values));
    assert_non_null(values);
    if (dr_weights_read(w, name, info.shape, info.dims, values, &err))
        fail_msg("%s", err.text);
    return info.dims == 4 ? channels_last(values, shape) : values;
}

/* --- device memory ----------------------------------------------------------------- */

static dr_device *open_with(const dr_device_options *options)
{
    dr_error err = { 0 };
    dr_device *device;

    if (dr_device_open(&device, options, &err))
        fail_msg("%s", err.text);
    return device;
}

dr_device *open_isa(dr_isa isa)
{
    const dr_kernels *kernels = dr_kernels_of(isa);

    return kernels ? open_with(&(dr_device_options){ .name = "cpu", .isa = kernels->isa }) : NULL;
}

void *upload(dr_device *device, const void *host, size_t bytes)
{
    dr_error err = { 0 };
    void *memory;

    assert_int_equal(dr_device_alloc(&memory, device, bytes, &err), DR_OK);
    assert_int_equal(dr_device_upload(device, memory, host, bytes, &err), DR_OK);
    return memory;
}

dr_tensor device_tensor(dr_device *device, int n, int h, int w, int c)
{
    dr_tensor t = { .dtype = dr_device_activation_dtype(device), .n = n, .h = h, .w = w, .c = c, .ld = c };
    const size_t bytes = count(t) * dr_dtype_bytes(t.dtype);
    dr_error err = { 0 };

    assert_int_equal(t.dtype, DR_F32); /* the code below knows no other */
    assert_int_equal(dr_device_alloc(&t.data, device, bytes, &err), DR_OK);
    assert_int_equal(dr_device_zero(device, t.data, bytes, &err), DR_OK);
    return t;
}

dr_tensor golden_tensor(dr_device *device, const dr_weights *w, const char *name)
{
    dr_error err = { 0 };
    dr_tensor shape, t;
    float *values = golden_read(w, name, &shape);

    t = device_tensor(device, shape.n, shape.h, shape.w, shape.c);
    assert_int_equal(dr_device_upload(device, t.data, values, count(t) * sizeof(*values), &err), DR_OK);
    free(values);
    return t;
}

float *download(dr_device *device, dr_tensor t)
{
    const size_t bytes = count(t) * sizeof(float);
    float *values = malloc(bytes);
    dr_error err = { 0 };

    assert_non_null(values);
    assert_int_equal(t.dtype, DR_F32);
    assert_int_equal(t.ld, t.c);
    assert_int_equal(dr_device_download(device, values, t.data, bytes, &err), DR_OK);
    return values;
}

/* --- parts ------------------------------------------------------------------------- */

dr_loader part_open(part *p, dr_device *device, const char *model, const char *name)
{
    dr_error err = { 0 };

    memset(p, 0, sizeof(*p));
    if (dr_weights_open(&p->weights, golden_path("models/%s/%s", model, name), &err))
        fail_msg("%s", err.text);
    p->state.device = device;
    p->state.weights = p->weights;
    return dr_loader_root(&p->state);
}

void part_close(part *p)
{
    dr_loader_finish(&p->state);
    dr_weights_close(p->weights);
}

/* --- passes ------------------------------------------------------------------------ */

/* How many bytes the pass of a body needs. */
static size_t plan(dr_device *device, void (*body)(dr_pass *p, void *context), void *context)
{
    dr_arena arena;
    dr_pass p = { .device = device, .arena = &arena, .planning = true };

    dr_arena_init(&arena, NULL, SIZE_MAX);
    body(&p, context);
    if (p.error.status)
        fail_msg("planning: %s", p.error.text);
    assert_int_equal(arena.live, 0);
    return arena.peak;
}

/* Device memory that is NaN in every float format; bytes may be 0. */
static void *poisoned(dr_device *device, size_t bytes)
{
    char *poison = malloc(bytes + 1);
    void *memory;

    assert_non_null(poison);
    memset(poison, 0xff, bytes + 1);
    memory = upload(device, poison, bytes + 1);
    free(poison);
    return memory;
}

void run_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context)
{
    const size_t bytes = plan(device, body, context);
    void *memory = poisoned(device, bytes);
    dr_arena arena;
    dr_pass p = { .device = device, .arena = &arena };

    dr_arena_init(&arena, memory, bytes);
    body(&p, context);
    if (p.error.status)
        fail_msg("running: %s", p.error.text);
    assert_int_equal(arena.live, 0);
    assert_int_equal(arena.peak, bytes);
    dr_device_free(device, memory);
}

void starve_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context)
{
    const size_t bytes = plan(device, body, context);
    void *memory = poisoned(device, bytes);

    for (size_t capacity = bytes; capacity > 0; capacity /= 2) {
        dr_arena arena;
        dr_pass p = { .device = device, .arena = &arena };

        dr_arena_init(&arena, memory, capacity - 1);
        body(&p, context);
        assert_int_equal(p.error.status, DR_ENOMEM);
        assert_int_equal(arena.live, 0);
    }
    dr_device_free(device, memory);
}

/* --- comparison -------------------------------------------------------------------- */

void assert_close(const float *values, const float *reference, size_t n, double tolerance, const char *what)
{
    double largest = 0, worst = 0;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        const double difference = fabs((double)values[i] - (double)reference[i]);

        largest = fmax(largest, fabs((double)reference[i]));
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
        if (isnan(difference))
            fail_msg("%s: %g at %zu of %zu, wanted %g", what, (double)values[i], i, n, (double)reference[i]);
    }
    if (!(worst <= tolerance * largest))
        fail_msg("%s: off by %.2e of %g (%.2e) at %zu of %zu: %g, wanted %g", what, worst, largest,
                 worst / largest, at, n, (double)values[at], (double)reference[at]);
}

void assert_golden(dr_device *device, dr_tensor t, const dr_weights *w, const char *name, double tolerance)
{
    dr_tensor shape;
    float *reference = golden_read(w, name, &shape);
    float *values = download(device, t);

    assert_true(t.n == shape.n && t.h == shape.h && t.w == shape.w && t.c == shape.c);
    assert_close(values, reference, count(t), tolerance, name);
    free(values);
    free(reference);
}

void assert_same_bits(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof(a[i])) != 0)
            fail_msg("%s: %.9g instead of %.9g at %zu of %zu", what, (double)a[i], (double)b[i], i, n);
}
