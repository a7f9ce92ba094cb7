/* Torture: the Nth allocation of Darkroom's own code fails, then the N+1st, until there are no more; and
 * the same with operators.
 *
 * Whatever fails, the call says so, nothing is leaked or freed twice, and afterwards the same call
 * succeeds with the same bits.  Run from the repository's root. */
#include "ops/backend.h"
#include "tests/support/allocations.h"
#include "tests/support/machines.h"

#include <darkroom/darkroom.h>

#include <jansson.h>

enum { SIDE = 32, PICTURE = SIDE * SIDE * 3 };

static const char FOLDER[] = "tests/goldens/models/sd1";

/* --- the whole way ------------------------------------------------------------------------- */

static dr_device *open_device(void)
{
    dr_device *device;
    dr_error err;

    if (dr_device_open(&device, &(dr_device_options){ .name = "cpu", .threads = 2 }, &err))
        fail_msg("%s", err.text);
    return device;
}

/* Together they have guidance, fresh noise at every call, and a history. */
static const dr_text_to_image requests[] = {
    { .prompt = "a red apple",
      .prompt_bytes = 11,
      .steps = 2,
      .guidance_scale = 7.5f,
      .sampler = DR_SAMPLER_DPMPP_SDE,
      .seed = 7 },
    { .prompt = "a dog",
      .prompt_bytes = 5,
      .steps = 3,
      .guidance_scale = 1.0f,
      .sampler = DR_SAMPLER_EULER_A,
      .seed = 8 },
};
enum { REQUESTS = sizeof(requests) / sizeof(requests[0]), CALLS = 3 };

/* Make every call up to the pictures.  With `again`, a call that fails is made once more. */
static dr_status draw(dr_model *model, bool again, uint8_t rgb[REQUESTS][PICTURE], dr_error *err)
{
    const dr_run_options options = { .width = SIDE, .height = SIDE, .samples_max = REQUESTS };
    dr_run *run;
    int sample;
    dr_status rc;

#define TRY(call)        \
    do {                 \
        rc = (call);     \
        if (rc && again) \
            rc = (call); \
        if (rc)          \
            goto out;    \
    } while (0)
    TRY(dr_run_open(&run, model, &options, err));
    for (int i = 0; i < REQUESTS; i++) {
        TRY(dr_run_add(run, &requests[i], &sample, err));
        assert_int_equal(sample, i);
    }
    for (int i = 0; i < CALLS; i++)
        TRY(dr_run_step(run, err));
    for (int i = 0; i < REQUESTS; i++)
        TRY(dr_run_picture_and_drop(run, i, rgb[i], err));
#undef TRY
out:
    dr_run_close(run);
    return rc;
}

static dr_status open_and_close(void *context, dr_error *err)
{
    dr_device *device;
    dr_model *model;
    dr_status rc = dr_device_open(&device, &(dr_device_options){ .name = "cpu", .threads = 2 }, err);
    (void)context;

    assert_int_equal(device == NULL, rc != DR_OK);
    if (rc)
        return rc;
    rc = dr_model_open(&model, device, FOLDER, err);
    assert_int_equal(model == NULL, rc != DR_OK);
    dr_model_close(model);
    dr_device_close(device);
    return rc;
}

static const machine *on;

/* Layers that instruction sets pack in different ways: products, and convolutions that may be transformed,
 * narrow ones on a large map and on a small map. */
static dr_status make_layers(void *context, dr_error *err)
{
    enum { WIDTH = 48, TAPS = 9 };
    static const float weight[WIDTH * WIDTH * TAPS], bias[WIDTH];
    const dr_linear_desc linear = { .name = "l", .in = WIDTH, .out = WIDTH, .weight = weight, .bias = bias };
    const dr_device_options options = { .name = "cpu", .isa = dr_isa_name(on->isa), .threads = on->threads };
    static const struct {
        int kernel, stride, map_pixels;
        bool upsample;
    } kinds[] = { { 1, 1, 4096, false },
                  { 3, 2, 1024, false },
                  { 3, 1, 4096, false },
                  { 3, 1, 16, false },
                  { 3, 1, 4096, true } };
    enum { KINDS_OF_CONV = sizeof(kinds) / sizeof(kinds[0]) };
    dr_conv *conv[KINDS_OF_CONV] = { NULL };
    dr_linear *l = NULL;
    dr_device *device;
    dr_status rc = dr_device_open(&device, &options, err);
    (void)context;

    if (rc)
        return rc;
    rc = dr_linear_create(&l, device, &linear, err);
    for (int i = 0; i < KINDS_OF_CONV && !rc; i++)
        rc = dr_conv_create(&conv[i], device,
                            &(dr_conv_desc){ .name = "c",
                                             .in = WIDTH,
                                             .out = WIDTH,
                                             .kernel = kinds[i].kernel,
                                             .stride = kinds[i].stride,
                                             .padding = DR_PAD_AROUND,
                                             .upsample = kinds[i].upsample,
                                             .map_pixels = kinds[i].map_pixels,
                                             .weight = weight,
                                             .bias = bias },
                            err);
    for (int i = 0; i < KINDS_OF_CONV; i++)
        dr_conv_free(conv[i]);
    dr_linear_free(l);
    dr_device_close(device);
    return rc;
}

static void making_layers_survives_any_allocation(void **state)
{
    (void)state;
    assert_true(torture(make_layers, NULL) > 12); /* two a layer at least */
}

static void opening_a_model_survives_any_allocation(void **state)
{
    (void)state;
    assert_true(torture(open_and_close, NULL) > 100); /* a layer is one at least */
}

/* A library parses JSON, and sometimes calls a lack of memory bad syntax.  That is all right, but it must
 * not leak or crash.  Only every 101st of its twenty thousand allocations is tried. */
static void parsing_survives_most_allocations(void **state)
{
    int all, lacked = 0, other = 0;
    dr_error err;
    (void)state;

    json_set_alloc_funcs(malloc, free); /* ours, by --wrap */
    allocations_fail(0, false);
    assert_int_equal(open_and_close(NULL, &err), DR_OK);
    all = allocations.asked;
    assert_true(all > 1000);
    for (int n = 1; n <= all; n += 101) {
        const int before = allocations.living;

        allocations_fail(n, true);
        if (open_and_close(NULL, &err) == DR_ENOMEM)
            lacked++;
        else
            other++;
        allocations_fail(0, false);
        assert_int_equal(allocations.living, before);
    }
    json_set_alloc_funcs(__real_malloc, __real_free);
    assert_true(lacked > 2 * other);
}

typedef struct pictures {
    dr_model *model;
    uint8_t expected[REQUESTS][PICTURE];
} pictures;

static dr_status draw_once(void *context, dr_error *err)
{
    static uint8_t rgb[REQUESTS][PICTURE];
    const pictures *p = context;
    const dr_status rc = draw(p->model, false, rgb, err);

    if (!rc)
        assert_memory_equal(rgb, p->expected, sizeof(rgb));
    return rc;
}

static void drawing_survives_any_allocation(void **state)
{
    static pictures p;
    dr_error err;
    (void)state;

    assert_int_equal(dr_model_open(&p.model, on->device, FOLDER, &err), DR_OK);
    assert_int_equal(draw(p.model, false, p.expected, &err), DR_OK);
    assert_true(torture(draw_once, &p) > 15);
    dr_model_close(p.model);
}

/* --- operators that fail ------------------------------------------------------------------- */

enum {
#define KIND(name) KIND_##name,
    DR_OPERATORS(KIND)
#undef KIND
        KINDS
};

static const dr_backend *honest;
static int operators; /* called since the counting began */
static int operator_fails_at;
static int first[KINDS]; /* the number of each kind's first call that is more than planning */

#define OPERATOR(name)                                                                            \
    static dr_status flaky_##name(dr_pass *p, const dr_##name##_args *a)                          \
    {                                                                                             \
        operators++;                                                                              \
        if (!p->planning && !first[KIND_##name])                                                  \
            first[KIND_##name] = operators;                                                       \
        if (operators == operator_fails_at)                                                       \
            return dr_fail(&p->error, DR_EIO, "%s fails on purpose, the %dth", #name, operators); \
        return honest->name(p, a);                                                                \
    }
DR_OPERATORS(OPERATOR)

static void fail_and_repeat(dr_model *model, int nth, uint8_t expected[REQUESTS][PICTURE])
{
    static uint8_t rgb[REQUESTS][PICTURE];
    dr_error err;

    operators = 0;
    operator_fails_at = nth;
    assert_int_equal(draw(model, false, rgb, &err), DR_EIO);
    operators = 0;
    memset(rgb, 0, sizeof(rgb));
    if (draw(model, true, rgb, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(rgb, expected, sizeof(rgb));
}

/* To let every call fail would take minutes.  So every 41st fails, a number without a common factor with
 * the pattern of resnets and transformers, and one call of every kind. */
enum { STRIDE = 41 };

static void a_call_that_failed_may_be_repeated(void **state)
{
    static uint8_t expected[REQUESTS][PICTURE];
    dr_device *device = open_device();
    dr_backend flaky = *device->backend;
    dr_model *model;
    dr_error err;
    int all;
    (void)state;

    assert_int_equal(dr_model_open(&model, device, FOLDER, &err), DR_OK);
    honest = device->backend;
#define REPLACE(name) flaky.name = flaky_##name;
    DR_OPERATORS(REPLACE)
#undef REPLACE
    device->backend = &flaky;
    operators = operator_fails_at = 0;
    assert_int_equal(draw(model, false, expected, &err), DR_OK);
    all = operators;
    assert_true(all > 10 * STRIDE);
    for (int n = 1; n <= all; n += STRIDE)
        fail_and_repeat(model, n, expected);
    for (int kind = 0; kind < KINDS; kind++) {
        assert_true(first[kind] > 0);
        fail_and_repeat(model, first[kind], expected);
    }
    device->backend = honest;
    dr_model_close(model);
    dr_device_close(device);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_layers_survives_any_allocation),
        cmocka_unit_test(drawing_survives_any_allocation),
    };

    on = m;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_a_model_survives_any_allocation),
        cmocka_unit_test(parsing_survives_most_allocations),
        cmocka_unit_test(a_call_that_failed_may_be_repeated),
    };
    return on_each_machine(run) + cmocka_run_group_tests_name("torture", tests, NULL, NULL);
}
