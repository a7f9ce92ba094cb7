/* Tests a CUDA device over a made-up runtime: what it says about machines that can't be used, its memory, its
 * copies, and the effect of an error at any call. */
#include "ops/ops.h"
#include "tests/cuda/fake/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static int machine(void **state)
{
    (void)state;
    fake_cuda_reset();
    return 0;
}

/* The device is opened without its self-check. self_check_test.c tests the check, which takes half a second
 * on the host. */
static dr_device *open_device(const dr_device_options *options)
{
    dr_device_options unchecked = *options;
    dr_device *device;
    dr_error err;

    unchecked.unchecked = true;
    if (dr_device_open(&device, &unchecked, &err))
        fail_msg("%s", err.text);
    return device;
}

/* Asserts that no memory is left on the device, and no pinned memory. */
static void assert_clean(void)
{
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.pinned, 0);
    assert_int_equal(fake_cuda.events, 0);
    assert_int_equal(fake_cuda.streams, 0);
    assert_int_equal(fake_cuda.handles, 0);
}

/* --- opening ------------------------------------------------------------------------- */

static void it_says_what_it_is(void **state)
{
    dr_device *device = open_device(&(dr_device_options){ .name = "cuda:1", .storage = "f16" });
    (void)state;

    assert_string_equal(dr_device_name(device), "cuda");
    assert_string_equal(dr_device_why(device), "asked for");
    assert_int_equal(dr_device_activation_dtype(device), DR_F16);
    assert_string_equal(
        dr_device_description(device),
        "cuda:1: NVIDIA Pretend, compute capability 9.0, f16, 7680 MiB of memory for us (8192 free "
        "of 16384), driver for CUDA 13.0, cuBLASLt 13.1.0");
    dr_device_close(device);
    device = open_device(&(dr_device_options){ .name = "cuda:0" });
    assert_int_equal(dr_device_activation_dtype(device), DR_F16);
    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 f16 cublaslt130100 wgmma");
    dr_device_close(device);
    device = open_device(&(dr_device_options){ .name = "cuda:0", .fp8 = "all" });
    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 f16 cublaslt130100 wgmma fp8");
    dr_device_close(device);
    device = open_device(&(dr_device_options){ .name = "cuda:0", .fp8 = "convolutions" });
    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 f16 cublaslt130100 wgmma fp8convs");
    dr_device_close(device);
    device =
        open_device(&(dr_device_options){ .name = "cuda:0", .storage = "bf16", .convolutions = "cudnn" });
    assert_int_equal(dr_device_activation_dtype(device), DR_BF16);
    assert_non_null(strstr(dr_device_description(device), ", cuBLASLt 13.1.0, convolutions by cuDNN 9.19.0"));
    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 bf16 cublaslt130100 cudnn91900:conv wgmma");
    dr_device_close(device);
    device = open_device(&(dr_device_options){ .name = "cuda:0", .attention = "cudnn" });
    assert_non_null(strstr(dr_device_description(device), ", cuBLASLt 13.1.0, attention by cuDNN 9.19.0"));
    assert_string_equal(dr_device_arithmetic(device),
                        "cuda sm90 f16 cublaslt130100 cudnn91900:attention wgmma");
    dr_device_close(device);
    device = open_device(&(dr_device_options){
        .name = "cuda:0", .convolutions = "cudnn", .attention = "cudnn", .fast = true });
    assert_non_null(strstr(dr_device_description(device), ", convolutions and attention by cuDNN 9.19.0"));
    assert_string_equal(dr_device_arithmetic(device),
                        "cuda sm90 f16 cublaslt130100 cudnn91900:conv:attention wgmma fast");
    dr_device_close(device);
    assert_clean();
}

/* Asserts the status and the message with which a machine is refused.  `auto` says the same and uses the
 * CPU. */
static void assert_refused(const dr_device_options *options, dr_status status, const char *text)
{
    dr_device_options automatic = *options;
    dr_device *device;
    dr_error err;

    assert_int_equal(dr_device_open(&device, options, &err), status);
    assert_null(device);
    assert_string_equal(err.text, text);
    assert_clean();
    automatic.name = "auto";
    automatic.threads = 1;
    device = open_device(&automatic);
    assert_string_equal(dr_device_name(device), "cpu");
    assert_memory_equal(dr_device_why(device), "auto: ", 6);
    assert_string_equal(dr_device_why(device) + 6, text);
    dr_device_close(device);
    assert_clean();
}

static void a_machine_that_can_not_be_used_is_told(void **state)
{
    const dr_device_options options = { .name = "cuda:0" };
    (void)state;

    fake_cuda.count_error = cudaErrorInsufficientDriver;
    fake_cuda.driver = 0;
    assert_refused(&options, DR_ENOTFOUND, "no NVIDIA driver on this machine");
    fake_cuda.driver = 12040;
    assert_refused(&options, DR_EUNSUPPORTED,
                   "the NVIDIA driver is too old: it is for CUDA 12.4, and 13.0 is needed");
    fake_cuda.count_error = cudaErrorNoDevice;
    assert_refused(&options, DR_ENOTFOUND, "no CUDA device can be seen on this machine");
    fake_cuda.count_error = cudaErrorIllegalAddress;
    assert_refused(&options, DR_EDEVICE,
                   "CUDA can't be used: an illegal memory access was encountered (cudaErrorIllegalAddress)");
    fake_cuda_reset();
    fake_cuda.major = 7, fake_cuda.minor = 5;
    assert_refused(&options, DR_EUNSUPPORTED,
                   "cuda:0: NVIDIA Pretend has compute capability 7.5, and 8.0 is needed");
    fake_cuda.major = 10, fake_cuda.minor = 0;
    assert_refused(&(dr_device_options){ .name = "cuda:0", .fp8 = "all" }, DR_EUNSUPPORTED,
                   "cuda:0: NVIDIA Pretend has compute capability 10.0, and fp8 is for 9.0");
    fake_cuda_reset();
    fake_cuda.init_error = cudaErrorDevicesUnavailable;
    assert_refused(&options, DR_EDEVICE,
                   "cuda:0 is busy, or closed to us: another process has it for itself");
    fake_cuda.init_error = cudaErrorMemoryAllocation;
    assert_refused(&options, DR_ENOMEM, "cuda:0 has no memory left to begin with: others have filled it");
    fake_cuda_reset();
    fake_cuda.free_bytes = 700 * MIB;
    assert_refused(&options, DR_ENOMEM,
                   "cuda:0: too little memory: 700 of 16384 MiB are free, and 768 are needed");
    fake_cuda_reset();
    assert_refused(&(dr_device_options){ .name = "cuda:0", .memory_max = 7681 * MIB }, DR_ENOMEM,
                   "cuda:0: 7681 MiB of memory were asked for, and 7680 of its 16384 MiB can be had");
    fake_cuda.blas_fails = true;
    assert_refused(&options, DR_EDEVICE, "cuda:0: cuBLASLt does not start: the library was not initialized");
    fake_cuda_reset();
    fake_cuda.dnn_absent = true; /* only those who ask for cuDNN are told */
    assert_refused(&(dr_device_options){ .name = "cuda:0", .convolutions = "cudnn" }, DR_ENOTFOUND,
                   "libcudnn.so.9 is not there");
    assert_refused(&(dr_device_options){ .name = "cuda:0", .attention = "cudnn" }, DR_ENOTFOUND,
                   "libcudnn.so.9 is not there");
    dr_device_close(open_device(&options));
    fake_cuda_reset();
    fake_cuda.nvrtc_absent = true; /* convolutions need none */
    assert_refused(&(dr_device_options){ .name = "cuda:0", .attention = "cudnn" }, DR_ENOTFOUND,
                   "libnvrtc.so.13 is not there");
    dr_device_close(open_device(&(dr_device_options){ .name = "cuda:0", .convolutions = "cudnn" }));
    fake_cuda.dnn_version = 91300;
    assert_refused(&(dr_device_options){ .name = "cuda:0", .attention = "cudnn" }, DR_EUNSUPPORTED,
                   "cuda:0: cuDNN 9.13.0 has no attention for us: 9.13.1 has");
    dr_device_close(open_device(&(dr_device_options){ .name = "cuda:0", .convolutions = "cudnn" }));
    assert_clean();
}

static void options_that_mean_nothing_are_refused(void **state)
{
    static const struct {
        dr_device_options options;
        dr_status status;
        const char *text;
    } cases[] = {
        { { .name = "cuda" },
          DR_EINVAL,
          "no device 'cuda'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cuda:" },
          DR_EINVAL,
          "no device 'cuda:'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cuda:-1" },
          DR_EINVAL,
          "no device 'cuda:-1'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cuda:1x" },
          DR_EINVAL,
          "no device 'cuda:1x'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cuda:64" },
          DR_EINVAL,
          "no device 'cuda:64'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cuda:99999999999999999999" },
          DR_EINVAL,
          "no device 'cuda:99999999999999999999'; there are: auto, cpu, cuda:NUMBER; in the worker also "
          "null" },
        { { .name = "cuda:2" }, DR_ENOTFOUND, "no device cuda:2: this machine has 2, from cuda:0" },
        { { .name = "cuda:0", .isa = "avx2" },
          DR_EINVAL,
          "no instruction set 'avx2' of a GPU; there are: sm_80, sm_90a" },
        { { .name = "cuda:0", .storage = "f32" }, DR_EINVAL, "no storage 'f32'; there are: f16, bf16" },
        { { .name = "cuda:0", .convolutions = "cuDNN" },
          DR_EINVAL,
          "no convolutions 'cuDNN'; there are: own, cudnn" },
        { { .name = "cuda:0", .attention = "flash" },
          DR_EINVAL,
          "no attention 'flash'; there are: own, cudnn" },
        { { .name = "cuda:0", .isa = "sm_80", .fp8 = "convolutions" },
          DR_EINVAL,
          "cuda:0: fp8 is multiplied by instructions of sm_90a, and isa is sm_80" },
        { { .name = "cuda:0", .fp8 = "on" }, DR_EINVAL, "no fp8 'on'; there are: off, convolutions, all" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_device *device;
        dr_error err;

        assert_int_equal(dr_device_open(&device, &cases[i].options, &err), cases[i].status);
        assert_null(device);
        assert_string_equal(err.text, cases[i].text);
        assert_clean();
    }
}

/* --- memory ---------------------------------------------------------------------------- */

/* Opens a device with 300 MiB for us, beside what the device takes for itself. */
static dr_device *open_small_device(void)
{
    return open_device(&(dr_device_options){
        .name = "cuda:0", .memory_max = 300 * MIB + DR_LANES * DR_CUDA_BLAS_WORKSPACE_BYTES });
}

static void memory_is_had_up_to_our_share(void **state)
{
    dr_device *device = open_small_device();
    void *block[3], *more;
    dr_error err;
    (void)state;

    for (int i = 0; i < 3; i++)
        assert_int_equal(dr_device_alloc(&block[i], device, 100 * MIB, &err), DR_OK);
    assert_int_equal(dr_device_memory_left(device), 0);
    assert_int_equal(dr_device_alloc(&more, device, 1, &err), DR_ENOMEM);
    assert_null(more);
    assert_int_equal(err.status, DR_ENOMEM);
    assert_string_equal(err.text, "cuda:0: no 1 bytes of memory: 396 of our 396 MiB are in use");
    dr_device_free(device, block[0]);
    assert_int_equal(dr_device_memory_left(device), 100 * MIB);
    fake_cuda.free_bytes = 40 * MIB; /* another process took memory */
    assert_int_equal(dr_device_memory_left(device), 40 * MIB);
    assert_int_equal(dr_device_alloc(&more, device, 100 * MIB, &err), DR_ENOMEM);
    assert_string_equal(err.text,
                        "cuda:0: no 104857600 bytes of memory: 296 of our 396 MiB are in use, and 40 MiB are "
                        "free on the device");
    assert_int_equal(dr_device_alloc(&more, device, 40 * MIB, &err), DR_OK);
    dr_device_free(device, more);
    dr_device_free(device, block[2]);
    dr_device_free(device, block[1]);
    dr_device_free(device, NULL);
    assert_int_equal(dr_device_alloc(&more, device, 0, &err), DR_OK);
    dr_device_free(device, more);
    dr_device_close(device);
    assert_clean();
}

/* More blocks than a list begins with, freed in another order. */
static void many_blocks_come_and_go(void **state)
{
    enum { BLOCKS = 1000 };
    dr_device *device = open_small_device();
    void *block[BLOCKS];
    dr_error err;
    (void)state;

    for (int i = 0; i < BLOCKS; i++)
        assert_int_equal(dr_device_alloc(&block[i], device, 1000, &err), DR_OK);
    for (int i = 0; i < BLOCKS; i++)
        dr_device_free(device, block[i * 7 % BLOCKS]);
    assert_int_equal(dr_device_memory_left(device), 300 * MIB);
    dr_device_close(device);
    assert_clean();
}

static void out_of_memory_is_not_the_end(void **state)
{
    dr_device *device = open_device(&(dr_device_options){ .name = "cuda:0" });
    void *block;
    dr_error err;
    (void)state;

    fake_cuda.fail_call = fake_cuda.calls + 1;
    fake_cuda.error = cudaErrorMemoryAllocation;
    assert_int_equal(dr_device_alloc(&block, device, MIB, &err), DR_ENOMEM);
    assert_null(block);
    assert_non_null(strstr(err.text, "cuda:0: no 1048576 bytes of memory: "));
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess); /* so a later launch is not blamed for the error */
    assert_int_equal(dr_device_alloc(&block, device, MIB, &err), DR_OK);
    dr_device_free(device, block);
    dr_device_close(device);
    assert_clean();
}

/* --- copies ----------------------------------------------------------------------------- */

static void fill(unsigned char *bytes, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
}

static void bytes_come_back_as_they_went(void **state)
{
    static const size_t sizes[] = {
        0,
        1,
        1000,
        DR_CUDA_STAGING_BYTES - 1,
        DR_CUDA_STAGING_BYTES,
        DR_CUDA_STAGING_BYTES + 1,
        DR_CUDA_STAGING_BUFFERS * (size_t)DR_CUDA_STAGING_BYTES,
        (2 * DR_CUDA_STAGING_BUFFERS + 1) * (size_t)DR_CUDA_STAGING_BYTES + 7,
    };
    dr_device *device = open_device(&(dr_device_options){ .name = "cuda:0" });
    const size_t most = sizes[sizeof(sizes) / sizeof(sizes[0]) - 1];
    unsigned char *there = malloc(most), *back = malloc(most);
    void *memory;
    dr_error err;
    (void)state;

    assert_int_equal(dr_device_alloc(&memory, device, most, &err), DR_OK);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fill(there, sizes[i], i);
        assert_int_equal(dr_device_upload(device, memory, there, sizes[i], &err), DR_OK);
        assert_true(sizes[i] == 0 || fake_cuda.waiting > 0); /* nobody has waited for the upload */
        memset(back, 0, sizes[i]);
        assert_int_equal(dr_device_download(device, back, memory, sizes[i], &err), DR_OK);
        assert_memory_equal(there, back, sizes[i]);
    }
    memset(there, 0, most);
    assert_int_equal(dr_device_zero(device, memory, most, &err), DR_OK);
    assert_int_equal(dr_device_zero(device, memory, 0, &err), DR_OK);
    assert_int_equal(dr_device_download(device, back, memory, most, &err), DR_OK);
    assert_memory_equal(there, back, most);
    dr_device_free(device, memory);
    dr_device_close(device);
    assert_clean();
    free(there);
    free(back);
}

/* Bytes that the host writes after an upload has returned do not arrive on the device. */
static void an_upload_takes_the_bytes_at_once(void **state)
{
    enum { UPLOADS = 3 * DR_CUDA_STAGING_BUFFERS };
    dr_device *device = open_device(&(dr_device_options){ .name = "cuda:0" });
    int value, back[UPLOADS];
    void *memory;
    dr_error err;
    (void)state;

    assert_int_equal(dr_device_alloc(&memory, device, sizeof(back), &err), DR_OK);
    for (value = 0; value < UPLOADS; value++)
        assert_int_equal(dr_device_upload(device, (int *)memory + value, &value, sizeof(value), &err), DR_OK);
    assert_int_equal(dr_device_download(device, back, memory, sizeof(back), &err), DR_OK);
    for (int i = 0; i < UPLOADS; i++)
        assert_int_equal(back[i], i);
    dr_device_free(device, memory);
    dr_device_close(device);
    assert_clean();
}

/* --- errors ------------------------------------------------------------------------------- */

/* Does in short what a model does with a device.  Returns the first status that is not DR_OK. */
static dr_status session(dr_device *device, char *bytes, size_t count, dr_error *err)
{
    void *memory;
    dr_status rc = dr_device_alloc(&memory, device, count, err);

    if (!rc)
        rc = dr_device_zero(device, memory, count, err);
    if (!rc)
        rc = dr_device_upload(device, memory, bytes, count, err);
    if (!rc)
        rc = dr_device_download(device, bytes, memory, count, err);
    dr_device_free(device, memory);
    return rc;
}

static void assert_lost(dr_device *device, char *bytes)
{
    dr_error err;
    void *memory;

    for (int again = 0; again < 2; again++) {
        assert_int_equal(dr_device_alloc(&memory, device, 1, &err), DR_EDEVICE);
        assert_null(memory);
        assert_int_equal(err.status, DR_EDEVICE);
        assert_true(err.retriable); /* on another device */
        assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
        assert_non_null(
            strstr(err.text, ": an illegal memory access was encountered (cudaErrorIllegalAddress)"));
        assert_int_equal(dr_device_zero(device, bytes, 1, &err), DR_EDEVICE);
        assert_int_equal(dr_device_upload(device, bytes, "x", 1, &err), DR_EDEVICE);
        assert_int_equal(dr_device_download(device, bytes, bytes, 1, &err), DR_EDEVICE);
        assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
    }
}

/* Each call of the runtime fails once, either for good or only that time.  From then on the device is lost,
 * and closing it leaks nothing.  A failure of freeing is the only one that is noticed at the next call. */
static void lost_is_lost_wherever_it_happens(void **state)
{
    enum { BYTES = 2 * DR_CUDA_STAGING_BYTES + 5 };
    char *bytes = calloc(BYTES, 1);
    int opening, all;
    dr_device *device;
    dr_error err;
    (void)state;

    device = open_device(&(dr_device_options){ .name = "cuda:0" });
    opening = fake_cuda.calls;
    assert_int_equal(session(device, bytes, BYTES, &err), DR_OK);
    all = fake_cuda.calls;
    dr_device_close(device);
    assert_true(all - opening > 12);

    for (int call = 1; call <= all; call++)
        for (int sticky = 0; sticky < 2; sticky++) {
            fake_cuda_reset();
            fake_cuda.fail_call = call;
            fake_cuda.error = cudaErrorIllegalAddress;
            fake_cuda.sticky = sticky;
            const dr_status rc =
                dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .unchecked = true }, &err);
            if (call <= opening) {
                assert_int_equal(rc, DR_EDEVICE);
                assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
                assert_null(device);
            } else {
                assert_int_equal(rc, DR_OK);
                assert_int_equal(session(device, bytes, BYTES, &err), call < all ? DR_EDEVICE : DR_OK);
                assert_lost(device, bytes);
                dr_device_close(device);
            }
            assert_clean();
        }
    free(bytes);
}

/* --- auto ----------------------------------------------------------------------------------- */

static void the_first_that_can_be_used_is_chosen(void **state)
{
    dr_device *device = open_device(&(dr_device_options){ .name = "auto" });
    (void)state;

    assert_string_equal(dr_device_name(device), "cuda");
    assert_string_equal(dr_device_why(device), "auto: the first that can be used");
    dr_device_close(device);
    assert_clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_says_what_it_is, machine),
        cmocka_unit_test_setup(a_machine_that_can_not_be_used_is_told, machine),
        cmocka_unit_test_setup(options_that_mean_nothing_are_refused, machine),
        cmocka_unit_test_setup(memory_is_had_up_to_our_share, machine),
        cmocka_unit_test_setup(many_blocks_come_and_go, machine),
        cmocka_unit_test_setup(out_of_memory_is_not_the_end, machine),
        cmocka_unit_test_setup(bytes_come_back_as_they_went, machine),
        cmocka_unit_test_setup(an_upload_takes_the_bytes_at_once, machine),
        cmocka_unit_test_setup(lost_is_lost_wherever_it_happens, machine),
        cmocka_unit_test_setup(the_first_that_can_be_used_is_chosen, machine),
    };
    return cmocka_run_group_tests_name("cuda device", tests, NULL, NULL);
}
