/* Tests convolutions by cuDNN, over a made-up cuDNN that offers the kernels that the test names: which kernel
 * is chosen for which layer, what is remembered, and what happens after failures. (Values and bits are tested
 * in tests/gpu/products_test.c.) */
#include "base/limits.h"
#include "ops/cuda/cuda.h"
#include "ops/cuda/dnn_conv.h"
#include "tests/cuda/fake/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IN = 32, OUT = 8, SIDE = 3, ROWS = 3, VALUES_IN = SIDE * SIDE * IN, VALUES_OUT = SIDE * SIDE * OUT };

static char folder[] = "/tmp/darkroom-convolutions-XXXXXX";

static const char *file_path(void)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder,
             "NVIDIA_Pretend-sm90-driver13000-runtime13000-cublaslt130100-cudnn91900.plans");
    return path;
}

static int machine(void **state)
{
    (void)state;
    fake_cuda_reset();
    unlink(file_path());
    return 0;
}

static void offer(const fake_kernel *kernel, int count)
{
    fake_cuda.dnn_kernels_offered = count;
    memcpy(fake_cuda.dnn_kernel, kernel, (size_t)count * sizeof(*kernel));
}
#define OFFER(...) \
    offer((fake_kernel[]){ __VA_ARGS__ }, sizeof((fake_kernel[]){ __VA_ARGS__ }) / sizeof(fake_kernel))

/* --- a layer ---------------------------------------------------------------------------------- */

static dr_device *open_device(const char *plan_cache)
{
    dr_device *device;
    dr_error err;

    if (dr_device_open(&device,
                       &(dr_device_options){ .name = "cuda:0",
                                             .convolutions = "cudnn",
                                             .plan_cache = plan_cache,
                                             .unchecked = true },
                       &err))
        fail_msg("%s", err.text);
    return device;
}

/* Closes the device and asserts that nothing is left, not even a descriptor of cuDNN. */
static void close_device(dr_device *device)
{
    dr_device_close(device);
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.events, 0);
    assert_int_equal(fake_cuda.handles, 0);
}

static dr_conv *new_conv(dr_device *device, int in, int out, bool upsample)
{
    const size_t values = (size_t)in * (size_t)out * 9;
    float *weight = malloc(values * sizeof(*weight));
    dr_conv *conv;
    dr_error err;

    assert_non_null(weight);
    for (size_t i = 0; i < values; i++)
        weight[i] = (float)(i * 37 % 101) / 64.0f - 0.75f;
    if (dr_conv_create(&conv, device,
                       &(dr_conv_desc){ .name = "conv1",
                                        .in = in,
                                        .out = out,
                                        .kernel = 3,
                                        .stride = 1,
                                        .padding = DR_PAD_AROUND,
                                        .upsample = upsample,
                                        .map_pixels = SIDE * SIDE,
                                        .weight = weight },
                       &err))
        fail_msg("%s", err.text);
    free(weight);
    return conv;
}

/* The arguments for tensors that have no memory yet. */
static dr_conv2d_args args_of(const dr_conv *conv, int rows)
{
    static char x_place[16] __attribute__((aligned(16))), y_place[16] __attribute__((aligned(16)));
    const dr_tensor x = {
        .data = x_place, .dtype = DR_F16, .n = rows, .h = SIDE, .w = SIDE, .c = IN, .ld = IN
    };
    const dr_tensor y = {
        .data = y_place, .dtype = DR_F16, .n = rows, .h = SIDE, .w = SIDE, .c = OUT, .ld = OUT
    };

    return (dr_conv2d_args){ .conv = conv, .x = x, .y = y };
}

static dr_status plan(dr_device *device, const dr_conv2d_args *a, dr_error *err)
{
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };

    dr_arena_init(&arena, NULL, SIZE_MAX);
    dr_conv2d(&pass, a);
    *err = pass.error;
    return pass.error.status;
}

/* y: [a->x.n, VALUES_OUT].  Returns the time that it took by the made-up machine's clock, which tells which
 * kernel ran. */
static double run(dr_device *device, const dr_conv2d_args *args, uint16_t *y, dr_error *err)
{
    const size_t x_values = (size_t)args->x.n * VALUES_IN, y_bytes = (size_t)args->y.n * VALUES_OUT * 2;
    dr_pass pass = { .device = device };
    uint16_t *x = malloc(x_values * sizeof(*x));
    dr_conv2d_args a = *args;
    double before;

    assert_non_null(x);
    for (size_t i = 0; i < x_values; i++)
        x[i] = (uint16_t)(0x3400 + i * 29 % 2047); /* f16: 1/4 to 1 */
    assert_int_equal(dr_device_alloc(&a.x.data, device, x_values * 2, err), DR_OK);
    assert_int_equal(dr_device_alloc(&a.y.data, device, y_bytes, err), DR_OK);
    assert_int_equal(dr_device_upload(device, a.x.data, x, x_values * 2, err), DR_OK);
    free(x);
    before = fake_cuda.clock_ms;
    dr_conv2d(&pass, &a);
    *err = pass.error;
    if (!pass.error.status)
        assert_int_equal(dr_device_download(device, y, a.y.data, y_bytes, err), DR_OK);
    dr_device_free(device, a.x.data);
    dr_device_free(device, a.y.data);
    return fake_cuda.clock_ms - before;
}

/* Plans and runs on a new device. */
typedef struct outcome {
    double ms;
    int choices; /* 0: the choice was remembered */
    uint16_t y[ROWS * VALUES_OUT];
    char note[600];
} outcome;

static outcome draw(const char *plan_cache)
{
    const int choices = fake_cuda.choices;
    dr_device *device = open_device(plan_cache);
    dr_conv *conv = new_conv(device, IN, OUT, false);
    const dr_conv2d_args a = args_of(conv, ROWS);
    outcome o = { .ms = 0 };
    const char *note;
    dr_error err;

    if (plan(device, &a, &err))
        fail_msg("%s", err.text);
    note = dr_device_note(device);
    if (note)
        snprintf(o.note, sizeof(o.note), "%s", note);
    o.ms = run(device, &a, o.y, &err);
    assert_int_equal(err.status, DR_OK);
    o.choices = fake_cuda.choices - choices;
    dr_conv_free(conv);
    close_device(device);
    return o;
}

/* --- choosing ------------------------------------------------------------------------------ */

static void the_fastest_with_the_same_bits_is_taken(void **state)
{
    outcome here, there;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 16, .ms = 1 }, { .step = 8, .ms = 3 }, { .step = 8, .ms = 4 });
    here = draw(NULL);
    OFFER({ .step = 8, .ms = 2 }, { .step = 16, .ms = 1 }, { .step = 8, .ms = 3 });
    there = draw(NULL);
    assert_true(here.ms == 3 && there.ms == 2);
    assert_memory_equal(here.y, there.y, sizeof(here.y));
}

/* Some kernels say that they split sums, are not deterministic, or are compiled for each number of rows.
 * Such kernels are not even tried. */
static void what_splits_sums_is_not_asked(void **state)
{
    (void)state;
    OFFER({ .step = 8, .ms = 1, .splits = true }, { .step = 8, .ms = 1, .streams = true },
          { .step = 8, .ms = 1, .unsure = true }, { .step = 8, .ms = 1, .workspace = 4 << 20 },
          { .step = 8, .ms = 1, .compiled_late = true }, { .step = 8, .ms = 7, .workspace = 100 });
    assert_true(draw(NULL).ms == 7);
}

static void a_row_is_the_same_alone(void **state)
{
    dr_device *device;
    dr_conv *conv;
    dr_conv2d_args a;
    dr_error err;
    (void)state;

    OFFER({ .ms = 1, .by_columns = true }, { .step = 16, .ms = 5 }, { .step = 8, .ms = 2 },
          { .step = 16, .ms = 4 });
    assert_true(draw(NULL).ms == 4);

    OFFER({ .ms = 1, .by_columns = true });
    device = open_device(NULL);
    conv = new_conv(device, IN, OUT, false);
    a = args_of(conv, ROWS);
    assert_int_equal(plan(device, &a, &err), DR_EUNSUPPORTED);
    assert_string_equal(err.text,
                        "conv1: a convolution of 32 to 8 channels, 3 rows of 3 x 3: cuda:0: cuDNN has no "
                        "kernel that does a row alone as in company");
    fake_cuda.dnn_falls_back = true; /* one that is slow, and always works */
    assert_int_equal(plan(device, &a, &err), DR_OK);
    dr_conv_free(conv);
    close_device(device);
}

static void one_that_refuses_is_passed_over(void **state)
{
    (void)state;
    OFFER({ .ms = 1, .refuses = true }, { .step = 8, .ms = 3 }, { .step = 8, .ms = 2, .rows_max = 1 });
    assert_true(draw(NULL).ms == 3);
}

/* Another number of rows needs another plan of the same kernel.  It gives the same rows, whatever ran
 * before. */
static void any_number_of_rows_has_the_same_kernel(void **state)
{
    static const int rows[] = { 1, 2, 7, 40 };
    dr_device *device = open_device(NULL);
    dr_conv *conv = new_conv(device, IN, OUT, false);
    uint16_t *y = calloc(40 * VALUES_OUT, sizeof(*y)), *before = calloc(40 * VALUES_OUT, sizeof(*before));
    dr_error err;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    assert_true(y && before);
    for (int i = 0; i < 4; i++) {
        const dr_conv2d_args a = args_of(conv, rows[i]);

        assert_int_equal(plan(device, &a, &err), DR_OK);
        assert_true(run(device, &a, y, &err) == 3);
        if (i > 0)
            assert_memory_equal(before, y, (size_t)rows[i - 1] * VALUES_OUT * sizeof(*y));
        memcpy(before, y, 40 * VALUES_OUT * sizeof(*y));
    }
    assert_int_equal(fake_cuda.choices, 1);
    free(y);
    free(before);
    dr_conv_free(conv);
    close_device(device);
}

/* Our own kernels do some layers, because of their channels or of an upsampling. */
static void a_layer_that_cudnn_does_not_do_is_ours(void **state)
{
    static const struct {
        int in, out;
        bool upsample, by_cudnn;
    } layers[] = {
        { 4, 320, false, false }, { 320, 4, false, false }, { 40, 8, false, false },
        { 32, 12, false, false }, { 32, 8, true, false },   { 32, 8, false, true },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
        assert_int_equal(cuda_dnn_convolves(&(dr_conv_desc){ .in = layers[i].in,
                                                             .out = layers[i].out,
                                                             .kernel = 3,
                                                             .upsample = layers[i].upsample }),
                         layers[i].by_cudnn);
}

/* --- remembering --------------------------------------------------------------------------------- */

static void the_next_start_need_not_measure(void **state)
{
    outcome first, next;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    first = draw(folder);
    next = draw(folder);
    assert_true(first.ms == 3 && first.choices == 1 && next.ms == 3 && next.choices == 0);
    assert_memory_equal(first.y, next.y, sizeof(first.y));
    assert_string_equal(first.note, "");
    assert_string_equal(next.note, "");
}

/* Tests an engine that this build of the library no longer has, and a damaged file. */
static void what_can_not_be_used_is_measured_anew(void **state)
{
    char note[600];
    FILE *file;
    outcome o;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    assert_int_equal(draw(folder).choices, 1);
    OFFER({ .step = 8, .ms = 4 });
    o = draw(folder);
    assert_true(o.ms == 4 && o.choices == 1);
    assert_int_equal(draw(folder).choices, 0);

    file = fopen(file_path(), "r+b");
    assert_non_null(file);
    fseek(file, -100, SEEK_END);
    fputc('?', file);
    fclose(file);
    o = draw(folder);
    snprintf(note, sizeof(note),
             "cuda:0: plan cache: %s: damaged: its checksum is another; kernels are measured anew",
             file_path());
    assert_string_equal(o.note, note);
    assert_true(o.ms == 4 && o.choices == 1);
    assert_int_equal(draw(folder).choices, 0);
}

/* Makes more plans than are kept.  A plan that was dropped is made again, and does the same. */
static void plans_that_had_to_go_are_made_anew(void **state)
{
    enum { MORE = DR_CUDA_DNN_PLANS_MAX + 40 };
    dr_device *device = open_device(NULL);
    dr_conv *conv = new_conv(device, IN, OUT, false);
    uint16_t first[2 * VALUES_OUT], again[2 * VALUES_OUT];
    dr_conv2d_args a = args_of(conv, 2);
    int descriptors = 0;
    dr_error err;
    (void)state;

    assert_int_equal(plan(device, &a, &err), DR_OK);
    run(device, &a, first, &err);
    for (int rows = 3; rows < MORE; rows++) {
        const dr_conv2d_args more = args_of(conv, rows);

        assert_int_equal(plan(device, &more, &err), DR_OK);
        if (rows == DR_CUDA_DNN_PLANS_MAX + 10)
            descriptors = fake_cuda.handles;
    }
    assert_int_equal(fake_cuda.handles, descriptors);
    run(device, &a, again, &err);
    assert_int_equal(err.status, DR_OK);
    assert_memory_equal(first, again, sizeof(first));
    dr_conv_free(conv);
    close_device(device);
}

/* --- failing ----------------------------------------------------------------------------------------- */

/* Each of cuDNN's calls fails once, with each kind of error, while a kernel is chosen and run.  The error has
 * the library's words, the device still works, and nothing is left behind. */
static void a_failure_of_cudnn_is_told(void **state)
{
    static const int codes[] = { CUDNN_STATUS_INTERNAL_ERROR, CUDNN_STATUS_NOT_SUPPORTED,
                                 CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED };
    static const dr_status statuses[] = { DR_EDEVICE, DR_EUNSUPPORTED, DR_ENOMEM };
    int told = 0;
    (void)state;

    for (int kind = 0; kind < 3; kind++) {
        bool failed = true;

        for (int nth = 1; failed; nth += 1 + nth / 40) {
            uint16_t y[ROWS * VALUES_OUT];
            dr_device *device;
            dr_conv *conv;
            dr_conv2d_args a;
            dr_status rc;
            dr_error err;

            fake_cuda_reset();
            OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
            device = open_device(NULL);
            conv = new_conv(device, IN, OUT, false);
            a = args_of(conv, ROWS);
            fake_cuda.dnn_fail_call = fake_cuda.dnn_calls + nth;
            fake_cuda.dnn_error = codes[kind];
            rc = plan(device, &a, &err);
            if (!rc)
                run(device, &a, y, &err);
            failed = fake_cuda.dnn_calls >= fake_cuda.dnn_fail_call;
            fake_cuda.dnn_fail_call = 0;
            if (err.status) { /* a candidate that fails is only skipped */
                told++;
                assert_int_equal(err.status, statuses[kind]);
                assert_memory_equal(err.text,
                                    "conv1: a convolution of 32 to 8 channels, 3 rows of 3 x 3: ", 59);
            }
            assert_int_equal(plan(device, &a, &err), DR_OK);
            run(device, &a, y, &err);
            assert_int_equal(err.status, DR_OK);
            dr_conv_free(conv);
            close_device(device);
        }
    }
    assert_true(told > 100);
}

/* Each of the runtime's calls fails once.  The lost device is reported as usual. */
static void a_device_that_is_lost_is_told(void **state)
{
    bool failed = true;
    int nth;
    (void)state;

    for (nth = 1; failed; nth++) {
        uint16_t y[ROWS * VALUES_OUT];
        dr_device *device;
        dr_conv *conv;
        dr_conv2d_args a;
        dr_status rc;
        dr_error err;

        fake_cuda_reset();
        OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
        device = open_device(NULL);
        conv = new_conv(device, IN, OUT, false);
        a = args_of(conv, ROWS);
        fake_cuda.fail_call = fake_cuda.calls + nth;
        fake_cuda.error = cudaErrorIllegalAddress;
        fake_cuda.sticky = true;
        rc = plan(device, &a, &err);
        failed = fake_cuda.calls >= fake_cuda.fail_call;
        fake_cuda.fail_call = 0;
        if (failed) {
            assert_int_equal(rc, DR_EDEVICE);
            assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
        } else {
            assert_int_equal(rc, DR_OK);
            assert_true(run(device, &a, y, &err) == 3);
        }
        dr_conv_free(conv);
        close_device(device);
    }
    assert_true(nth > 30);
}

/* With less memory than the rows need, kernels are measured with fewer rows.  With no memory nothing is
 * chosen. */
static void little_memory_is_enough(void **state)
{
    dr_device *device = open_device(NULL);
    dr_conv *conv = new_conv(device, IN, OUT, false);
    const dr_conv2d_args a = args_of(conv, ROWS);
    void *taken;
    dr_error err;
    (void)state;

    /* A row of x and y has 720 bytes, the weight 4608. */
    assert_int_equal(dr_device_alloc(&taken, device, dr_device_memory_left(device) - 2000, &err), DR_OK);
    assert_int_equal(plan(device, &a, &err), DR_ENOMEM);
    dr_device_free(device, taken);
    assert_int_equal(dr_device_alloc(&taken, device, dr_device_memory_left(device) - 8000, &err), DR_OK);
    assert_int_equal(plan(device, &a, &err), DR_OK);
    dr_device_free(device, taken);
    dr_conv_free(conv);
    close_device(device);
}

static int leave(void **state)
{
    (void)state;
    unlink(file_path());
    if (rmdir(folder))
        print_error("%s: not empty\n", folder);
    return access(folder, F_OK) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_fastest_with_the_same_bits_is_taken, machine),
        cmocka_unit_test_setup(what_splits_sums_is_not_asked, machine),
        cmocka_unit_test_setup(a_row_is_the_same_alone, machine),
        cmocka_unit_test_setup(one_that_refuses_is_passed_over, machine),
        cmocka_unit_test_setup(any_number_of_rows_has_the_same_kernel, machine),
        cmocka_unit_test_setup(a_layer_that_cudnn_does_not_do_is_ours, machine),
        cmocka_unit_test_setup(the_next_start_need_not_measure, machine),
        cmocka_unit_test_setup(what_can_not_be_used_is_measured_anew, machine),
        cmocka_unit_test_setup(plans_that_had_to_go_are_made_anew, machine),
        cmocka_unit_test_setup(a_failure_of_cudnn_is_told, machine),
        cmocka_unit_test_setup(a_device_that_is_lost_is_told, machine),
        cmocka_unit_test_setup(little_memory_is_enough, machine),
    };

    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    return cmocka_run_group_tests_name("convolutions by cuDNN", tests, NULL, leave);
}
