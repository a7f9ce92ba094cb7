/* Tests attention by cuDNN, over a made-up cuDNN that offers the kernels that the test names: which kernel is
 * chosen for which shape, what is remembered, and what happens to plans with code of their own and after
 * failures. (Values and bits are tested in tests/gpu/products_test.c.) */
#include "base/half.h"
#include "base/limits.h"
#include "ops/cuda/cuda.h"
#include "ops/cuda/dnn_attention.h"
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

enum { HEADS = 2, DIM = 8, CHANNELS = HEADS * DIM, LD = 3 * CHANNELS, TOKENS = 70, ROWS = 3 };
enum { VALUES_IN = TOKENS * LD, VALUES_OUT = TOKENS * CHANNELS };

static char folder[] = "/tmp/darkroom-attention-XXXXXX";

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

static dr_device *open_device(const char *plan_cache)
{
    dr_device *device;
    dr_error err;

    if (dr_device_open(&device,
                       &(dr_device_options){ .name = "cuda:0",
                                             .attention = "cudnn",
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
    assert_int_equal(fake_cuda.graphs, 0);
}

/* --- the operator ------------------------------------------------------------------------------- */

/* The arguments for tensors at these addresses. */
static dr_attention_args args_at(void *qkv, void *y, int rows)
{
    const dr_tensor all = { .data = qkv, .dtype = DR_F16, .n = rows, .h = 1, .w = TOKENS, .c = LD, .ld = LD };

    return (dr_attention_args){
        .q = dr_tensor_channels(all, 0, CHANNELS),
        .k = dr_tensor_channels(all, CHANNELS, CHANNELS),
        .v = dr_tensor_channels(all, 2 * CHANNELS, CHANNELS),
        .y = { .data = y, .dtype = DR_F16, .n = rows, .h = 1, .w = TOKENS, .c = CHANNELS, .ld = CHANNELS },
        .heads = HEADS,
        .scale = 0.3f
    };
}

/* The arguments for tensors that have no memory yet. */
static dr_attention_args args_of(int rows)
{
    static char qkv_place[256] __attribute__((aligned(16))), y_place[16] __attribute__((aligned(16)));

    return args_at(qkv_place, y_place, rows);
}

static dr_status plan(dr_device *device, const dr_attention_args *a, dr_error *err)
{
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };

    dr_arena_init(&arena, NULL, SIZE_MAX);
    dr_attention(&pass, a);
    *err = pass.error;
    return pass.error.status;
}

/* Uploads the rows.  A row has the same values whatever their number. */
static dr_attention_args upload(dr_device *device, int rows)
{
    const size_t values = (size_t)rows * VALUES_IN;
    uint16_t *host = malloc(values * sizeof(*host));
    void *qkv, *y;
    dr_error err;

    assert_non_null(host);
    for (size_t i = 0; i < values; i++)
        host[i] = dr_f16_from_float((float)(i * 7919 % 4001) / 1000.0f - 2.0f);
    assert_int_equal(dr_device_alloc(&qkv, device, values * sizeof(*host), &err), DR_OK);
    assert_int_equal(dr_device_alloc(&y, device, (size_t)rows * VALUES_OUT * sizeof(*host), &err), DR_OK);
    assert_int_equal(dr_device_upload(device, qkv, host, values * sizeof(*host), &err), DR_OK);
    free(host);
    return args_at(qkv, y, rows);
}

static void forget(dr_device *device, const dr_attention_args *a)
{
    dr_device_free(device, a->q.data);
    dr_device_free(device, a->y.data);
}

/* y: [rows, VALUES_OUT].  Returns the time that it took by the made-up machine's clock, which tells which
 * kernel ran. */
static double run(dr_device *device, int rows, uint16_t *y, dr_error *err)
{
    const dr_attention_args a = upload(device, rows);
    const double before = fake_cuda.clock_ms;
    dr_pass pass = { .device = device };

    dr_attention(&pass, &a);
    *err = pass.error;
    if (!pass.error.status)
        assert_int_equal(dr_device_download(device, y, a.y.data, (size_t)rows * VALUES_OUT * sizeof(*y), err),
                         DR_OK);
    forget(device, &a);
    return fake_cuda.clock_ms - before;
}

/* Plans and runs on a new device. */
typedef struct outcome {
    double ms;
    int choices; /* 0: the choice was remembered */
    uint16_t y[ROWS * VALUES_OUT];
} outcome;

static outcome draw(const char *plan_cache)
{
    const int choices = fake_cuda.choices;
    dr_device *device = open_device(plan_cache);
    const dr_attention_args a = args_of(ROWS);
    outcome o = { .ms = 0 };
    dr_error err;

    if (plan(device, &a, &err))
        fail_msg("%s", err.text);
    assert_null(dr_device_note(device));
    o.ms = run(device, ROWS, o.y, &err);
    assert_int_equal(err.status, DR_OK);
    o.choices = fake_cuda.choices - choices;
    close_device(device);
    return o;
}

/* --- whose it is -------------------------------------------------------------------------------- */

static void what_cudnn_does_not_do_is_ours(void **state)
{
    static const int32_t row[ROWS] = { 0 };
    static char elsewhere[16] __attribute__((aligned(16)));
    const dr_attention_args good = args_of(ROWS);
    dr_attention_args a = good;
    (void)state;

    assert_true(cuda_dnn_attends(&good));
    a.kv_row = row;
    assert_false(cuda_dnn_attends(&a));
    a = good, a.causal = true;
    assert_false(cuda_dnn_attends(&a));
    a = good, a.k.data = elsewhere;
    assert_false(cuda_dnn_attends(&a));
    a = good, a.v.data = elsewhere;
    assert_false(cuda_dnn_attends(&a));
    a = good, a.heads = 4; /* of 4 channels */
    assert_false(cuda_dnn_attends(&a));
    a = good, a.q.ld = a.k.ld = a.v.ld = LD + 4;
    assert_false(cuda_dnn_attends(&a));
    a = good, a.q.data = (char *)a.q.data + 8, a.k.data = (char *)a.k.data + 8,
    a.v.data = (char *)a.v.data + 8;
    assert_false(cuda_dnn_attends(&a));
}

/* The shape decides, not the number of rows. */
static void one_row_is_cudnns_too(void **state)
{
    dr_device *device = open_device(NULL);
    const dr_attention_args a = args_of(1);
    uint16_t y[VALUES_OUT];
    dr_error err;
    (void)state;

    OFFER({ .step = 8, .ms = 5 });
    assert_int_equal(plan(device, &a, &err), DR_OK);
    assert_true(run(device, 1, y, &err) == 5);
    close_device(device);
}

/* --- choosing ------------------------------------------------------------------------------------- */

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

/* The values on which candidates are tried show the order of a sum.  So each candidate whose step is not the
 * first one's is rejected. */
static void other_orders_show(void **state)
{
    (void)state;
    for (int step = 2; step <= 128; step *= 2) {
        OFFER({ .step = 64, .ms = 5 }, { .step = step, .ms = 1 });
        assert_true(draw(NULL).ms == (step == 64 ? 1 : 5));
    }
}

static void what_splits_sums_is_not_asked(void **state)
{
    (void)state;
    OFFER({ .step = 8, .ms = 1, .splits = true }, { .step = 8, .ms = 1, .streams = true },
          { .step = 8, .ms = 1, .unsure = true }, { .step = 8, .ms = 1, .workspace = 4 << 20 },
          { .step = 8, .ms = 7, .workspace = 100 });
    assert_true(draw(NULL).ms == 7);
}

static void a_row_is_the_same_alone(void **state)
{
    dr_device *device;
    dr_attention_args a = args_of(ROWS);
    dr_error err;
    (void)state;

    OFFER({ .ms = 1, .by_columns = true }, { .step = 16, .ms = 5 }, { .step = 8, .ms = 2 },
          { .step = 16, .ms = 4 });
    assert_true(draw(NULL).ms == 4);

    OFFER({ .ms = 1, .by_columns = true });
    device = open_device(NULL);
    assert_int_equal(plan(device, &a, &err), DR_EUNSUPPORTED);
    assert_string_equal(err.text,
                        "attention of 2 heads of 8 channels, 3 rows of 70 tokens: cuda:0: cuDNN has "
                        "no kernel that does a row alone as in company");
    close_device(device);
}

/* Another number of rows needs another plan of the same kernel.  It gives the same rows, whatever ran
 * before. */
static void any_number_of_rows_has_the_same_kernel(void **state)
{
    static const int rows[] = { 1, 2, 7, 20 };
    dr_device *device = open_device(NULL);
    uint16_t *y = calloc(20 * VALUES_OUT, sizeof(*y)), *before = calloc(20 * VALUES_OUT, sizeof(*before));
    dr_error err;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    assert_true(y && before);
    for (int i = 0; i < 4; i++) {
        const dr_attention_args a = args_of(rows[i]);

        assert_int_equal(plan(device, &a, &err), DR_OK);
        assert_true(run(device, rows[i], y, &err) == 3);
        if (i > 0)
            assert_memory_equal(before, y, (size_t)rows[i - 1] * VALUES_OUT * sizeof(*y));
        memcpy(before, y, 20 * VALUES_OUT * sizeof(*y));
    }
    assert_int_equal(fake_cuda.choices, 1);
    free(y);
    free(before);
    close_device(device);
}

static void the_next_start_need_not_measure(void **state)
{
    outcome first, next;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    first = draw(folder);
    next = draw(folder);
    assert_true(first.ms == 3 && first.choices == 1 && next.ms == 3 && next.choices == 0);
    assert_memory_equal(first.y, next.y, sizeof(first.y));
    fake_cuda.dnn_build++; /* whose kernels have changed */
    next = draw(folder);
    assert_true(next.ms == 3);
}

/* --- plans whose code is their own ------------------------------------------------------------------- */

/* Makes more plans than are kept.  Plans that a recording may start stay until the recording is gone.  Then
 * the oldest plans are dropped. */
static void what_a_recording_starts_stays(void **state)
{
    enum { MORE = DR_CUDA_DNN_PLANS_MAX + 40 };
    dr_device *device = open_device(NULL);
    dr_attention_args a = upload(device, 2);
    dr_pass pass = { .device = device };
    dr_recording *recording;
    uint16_t played[2 * VALUES_OUT], recorded[2 * VALUES_OUT];
    int held;
    dr_error err;
    (void)state;

    assert_int_equal(plan(device, &a, &err), DR_OK);
    run(device, 2, played, &err);
    assert_int_equal(dr_recording_begin(device, &err), DR_OK);
    dr_attention(&pass, &a);
    assert_int_equal(pass.error.status, DR_OK);
    assert_int_equal(dr_recording_end(&recording, device, &err), DR_OK);
    for (int rows = 3; rows < MORE; rows++) {
        const dr_attention_args more = args_of(rows);
        assert_int_equal(plan(device, &more, &err), DR_OK);
    }
    assert_int_equal(dr_recording_play(recording, &err), DR_OK); /* asserts that the code is still there */
    assert_int_equal(dr_device_download(device, recorded, a.y.data, sizeof(recorded), &err), DR_OK);
    assert_memory_equal(recorded, played, sizeof(played));

    held = fake_cuda.handles;
    dr_recording_free(recording);
    for (int rows = MORE; rows < MORE + 10; rows++) {
        const dr_attention_args more = args_of(rows);
        assert_int_equal(plan(device, &more, &err), DR_OK);
    }
    assert_int_equal(fake_cuda.handles, held); /* and the recording's graph is no handle of cuDNN's */
    run(device, 2, recorded, &err);            /* its plan is made anew */
    assert_int_equal(err.status, DR_OK);
    assert_memory_equal(recorded, played, sizeof(played));
    forget(device, &a);
    close_device(device);
}

/* --- failing ------------------------------------------------------------------------------------------- */

/* Each of cuDNN's calls fails once while a kernel is tried and run.  The error has the library's words, the
 * device still works, and nothing is left behind. */
static void a_failure_of_cudnn_is_told(void **state)
{
    bool failed = true;
    int told = 0;
    (void)state;

    for (int nth = 1; failed; nth += 1 + nth / 40) {
        const dr_attention_args a = args_of(ROWS);
        uint16_t y[ROWS * VALUES_OUT];
        dr_device *device;
        dr_error err;

        fake_cuda_reset();
        OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
        device = open_device(NULL);
        fake_cuda.dnn_fail_call = fake_cuda.dnn_calls + nth;
        fake_cuda.dnn_error = CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED;
        if (!plan(device, &a, &err))
            run(device, ROWS, y, &err);
        failed = fake_cuda.dnn_calls >= fake_cuda.dnn_fail_call;
        fake_cuda.dnn_fail_call = 0;
        if (err.status) { /* a candidate that fails is only skipped */
            told++;
            assert_int_equal(err.status, DR_EDEVICE);
            assert_memory_equal(err.text, "attention of 2 heads of 8 channels, 3 rows of 70 tokens: ", 57);
        }
        assert_int_equal(plan(device, &a, &err), DR_OK);
        run(device, ROWS, y, &err);
        assert_int_equal(err.status, DR_OK);
        close_device(device);
    }
    assert_true(told > 20);
}

/* Each of the runtime's calls fails once, while attention is planned, recorded or played.  The lost device is
 * reported as usual. */
static void a_device_that_is_lost_is_told(void **state)
{
    bool failed = true;
    int nth;
    (void)state;

    for (nth = 1; failed; nth++) {
        dr_device *device;
        dr_attention_args a;
        dr_pass pass;
        dr_recording *recording = NULL;
        dr_status rc;
        dr_error err;

        fake_cuda_reset();
        OFFER({ .step = 8, .ms = 3 });
        device = open_device(NULL);
        a = upload(device, ROWS);
        fake_cuda_wait();
        pass = (dr_pass){ .device = device };
        fake_cuda.fail_call = fake_cuda.calls + nth;
        fake_cuda.error = cudaErrorIllegalAddress;
        fake_cuda.sticky = true;
        rc = plan(device, &a, &err);
        if (!rc)
            rc = dr_recording_begin(device, &err);
        if (!rc) {
            dr_attention(&pass, &a);
            rc = dr_recording_end(&recording, device, &err);
            if (pass.error.status) {
                rc = pass.error.status;
                err = pass.error;
            }
        }
        if (!rc)
            rc = dr_recording_play(recording, &err);
        if (!rc)
            rc = dr_lanes_drain(device, &err);
        failed = fake_cuda.calls >= fake_cuda.fail_call;
        fake_cuda.fail_call = 0;
        if (failed) {
            assert_int_equal(rc, DR_EDEVICE);
            assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
        } else {
            assert_int_equal(rc, DR_OK);
        }
        dr_recording_free(recording);
        forget(device, &a);
        close_device(device);
    }
    assert_true(nth > 30);
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
        cmocka_unit_test_setup(what_cudnn_does_not_do_is_ours, machine),
        cmocka_unit_test_setup(one_row_is_cudnns_too, machine),
        cmocka_unit_test_setup(the_fastest_with_the_same_bits_is_taken, machine),
        cmocka_unit_test_setup(other_orders_show, machine),
        cmocka_unit_test_setup(what_splits_sums_is_not_asked, machine),
        cmocka_unit_test_setup(a_row_is_the_same_alone, machine),
        cmocka_unit_test_setup(any_number_of_rows_has_the_same_kernel, machine),
        cmocka_unit_test_setup(the_next_start_need_not_measure, machine),
        cmocka_unit_test_setup(what_a_recording_starts_stays, machine),
        cmocka_unit_test_setup(a_failure_of_cudnn_is_told, machine),
        cmocka_unit_test_setup(a_device_that_is_lost_is_told, machine),
    };

    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    return cmocka_run_group_tests_name("attention by cuDNN", tests, NULL, leave);
}
