/* Tests what a device that computes wrongly says when it is opened, and which kernels it then does
 * without. */
#include "ops/ops.h"
#include "tests/cuda/fake/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int machine(void **state)
{
    (void)state;
    fake_cuda_reset();
    return 0;
}

static void assert_clean(void)
{
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.pinned, 0);
    assert_int_equal(fake_cuda.events, 0);
    assert_int_equal(fake_cuda.streams, 0);
    assert_int_equal(fake_cuda.handles, 0);
}

/* Asserts that the line has this beginning and this end. */
static void assert_line(const char *line, const char *begin, const char *end)
{
    if (!line || strncmp(line, begin, strlen(begin)) || strlen(line) < strlen(end) ||
        strcmp(line + strlen(line) - strlen(end), end))
        fail_msg("%s", line ? line : "no line");
}

static void assert_refused(const dr_device_options *options, const char *begin)
{
    dr_device *device;
    dr_error err;

    assert_int_equal(dr_device_open(&device, options, &err), DR_EDEVICE);
    assert_null(device);
    assert_line(err.text, begin, "");
    assert_non_null(strstr(err.text, ", and should be "));
    assert_clean();
}

/* --- kernels for every device --------------------------------------------------------------------- */

static const struct {
    const char *kernel, *line;
} wrongs[] = {
    { "attention_kernel", "cuda:0 computes wrongly: attention of 40 channels (sm_80): value " },
    { "attention_wide", "cuda:0 computes wrongly: attention of 512 channels (sm_80): value " },
    { "conv_kernel", "cuda:0 computes wrongly: a convolution of 4 to 64 channels, 3 x 3 (sm_80): value " },
    { "group_norm",
      "cuda:0 computes wrongly: a group norm of the moments that a convolution left (sm_80): value " },
};

static void a_device_that_computes_wrongly_is_not_opened(void **state)
{
    static const char *const storages[] = { "f16", "bf16" };
    (void)state;

    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        fake_cuda.wrong_kernel = wrongs[i].kernel;
        assert_refused(&(dr_device_options){ .name = "cuda:0", .storage = storages[i % 2] }, wrongs[i].line);
        assert_refused(&(dr_device_options){ .name = "cuda:0", .isa = "sm_80" }, wrongs[i].line);
    }
}

static void auto_goes_on_with_the_cpu(void **state)
{
    dr_device *device;
    dr_error err;
    (void)state;

    fake_cuda.wrong_kernel = "attention_wide";
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "auto", .threads = 1 }, &err),
                     DR_OK);
    assert_string_equal(dr_device_name(device), "cpu");
    assert_line(dr_device_why(device),
                "auto: cuda:0 computes wrongly: attention of 512 channels (sm_80): value ", "");
    dr_device_close(device);
    assert_clean();
}

/* --- Hopper's ---------------------------------------------------------------------------------------- */

static const struct {
    const char *kernel, *line, *left; /* left: the kernels that are still right */
} hoppers[] = {
    { "attention_wgmma", "cuda:0 computes wrongly: attention of 40 channels (sm_90a): value ", "wgmma:conv" },
    { "conv_wgmma",
      "cuda:0 computes wrongly: a convolution of 64 to 160 channels, 3 x 3, 8 x 8 pixels (sm_90a): value ",
      "wgmma:attention" },
};

static void without_hoppers_kernels_those_for_all_are_used(void **state)
{
    dr_device *device;
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(hoppers) / sizeof(hoppers[0]); i++) {
        fake_cuda.wrong_kernel = hoppers[i].kernel;
        assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_OK);
        assert_line(dr_device_note(device), hoppers[i].line, "; the kernels for sm_80 are right, and used");
        assert_null(dr_device_note(device));
        assert_line(dr_device_arithmetic(device), "cuda sm90 f16 cublaslt130100 ", hoppers[i].left);
        dr_device_close(device);
        assert_refused(&(dr_device_options){ .name = "cuda:0", .isa = "sm_90a" }, hoppers[i].line);
        assert_clean();
    }
    fake_cuda.wrong_kernel = "wgmma"; /* the first of each family */
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_OK);
    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 f16 cublaslt130100");
    dr_device_close(device);
}

/* Convolutions in 8 bits have no other kernels than these. */
static void in_eight_bits_there_are_no_others(void **state)
{
    const dr_device_options options = { .name = "cuda:0", .fp8 = "convolutions" };
    dr_device *device;
    dr_error err;
    (void)state;

    assert_int_equal(dr_device_open(&device, &options, &err), DR_OK);
    dr_device_close(device);
    fake_cuda.wrong_kernel = hoppers[1].kernel;
    assert_refused(&options, hoppers[1].line);
    fake_cuda.wrong_kernel = "conv_e4m3";
    assert_refused(
        &options,
        "cuda:0 computes wrongly: a convolution of 128 to 160 channels, 3 x 3, in 8 bits (sm_90a): value ");
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_OK);
    dr_device_close(device);
}

static void who_does_without_them_is_not_bothered(void **state)
{
    dr_device *device;
    dr_error err;
    (void)state;

    fake_cuda.wrong_kernel = "wgmma";
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .isa = "sm_80" }, &err),
                     DR_OK);
    assert_null(dr_device_note(device));
    dr_device_close(device);
    fake_cuda.major = 8;
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_OK);
    assert_null(dr_device_note(device));
    assert_string_equal(dr_device_arithmetic(device), "cuda sm80 f16 cublaslt130100");
    dr_device_close(device);
    assert_clean();
}

/* --- what it takes ------------------------------------------------------------------------------------ */

static void nothing_is_left_of_it(void **state)
{
    dr_device *device;
    size_t left;
    dr_error err;
    (void)state;

    assert_int_equal(
        dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .isa = "sm_90a", .unchecked = true },
                       &err),
        DR_OK);
    assert_int_equal(fake_cuda.kernels, 0);
    left = dr_device_memory_left(device);
    dr_device_close(device);
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .isa = "sm_90a" }, &err),
                     DR_OK);
    assert_true(fake_cuda.kernels > 20);
    assert_int_equal(dr_device_memory_left(device), left);
    assert_null(dr_device_note(device));
    dr_device_close(device);
    assert_clean();
}

/* Some calls of the runtime fail while the check runs.  That is reported as a lost device, not as one that
 * computes wrongly. */
static void a_device_that_is_lost_meanwhile_is_told_so(void **state)
{
    dr_device *device;
    int before, all;
    dr_error err;
    (void)state;

    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .unchecked = true },
                                    &err),
                     DR_OK);
    before = fake_cuda.calls;
    dr_device_close(device);
    fake_cuda_reset();
    assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_OK);
    all = fake_cuda.calls;
    dr_device_close(device);
    for (int call = before + 1; call <= all; call += 41) {
        fake_cuda_reset();
        fake_cuda.fail_call = call;
        fake_cuda.error = cudaErrorIllegalAddress;
        assert_int_equal(dr_device_open(&device, &(dr_device_options){ .name = "cuda:0" }, &err), DR_EDEVICE);
        assert_line(err.text, "cuda:0 is lost: ", "");
        assert_clean();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_device_that_computes_wrongly_is_not_opened, machine),
        cmocka_unit_test_setup(auto_goes_on_with_the_cpu, machine),
        cmocka_unit_test_setup(without_hoppers_kernels_those_for_all_are_used, machine),
        cmocka_unit_test_setup(in_eight_bits_there_are_no_others, machine),
        cmocka_unit_test_setup(who_does_without_them_is_not_bothered, machine),
        cmocka_unit_test_setup(nothing_is_left_of_it, machine),
        cmocka_unit_test_setup(a_device_that_is_lost_meanwhile_is_told_so, machine),
    };
    return cmocka_run_group_tests_name("self-check", tests, NULL, NULL);
}
