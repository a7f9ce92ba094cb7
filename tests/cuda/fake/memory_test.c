/* Tests the device memory within our share: which blocks are refused, and whether waiting can help. */
#include "ops/device.h"
#include "tests/cuda/fake/runtime.h"

#include <darkroom/darkroom.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const size_t MIB = 1 << 20, SHARE_MIB = 256 /* the smallest that a device opens with */;

static dr_device *open_device(void)
{
    const dr_device_options options = {
        .name = "cuda:0",
        .memory_max = SHARE_MIB * MIB,
        .unchecked = true,
    };
    dr_device *device;
    dr_error err;

    fake_cuda_reset();
    if (dr_device_open(&device, &options, &err))
        fail_msg("%s", err.text);
    return device;
}

/* A caller that waits for such a block would wait for ever.  So the job is refused at once. */
static void a_block_larger_than_our_share_is_not_retriable(void **state)
{
    dr_device *device = open_device();
    const size_t free_bytes = fake_cuda.free_bytes;
    void *block;
    dr_error err;

    (void)state;
    assert_int_equal(dr_device_alloc(&block, device, SHARE_MIB * MIB + 1, &err), DR_ENOMEM);
    assert_null(block);
    assert_false(err.retriable);
    assert_non_null(strstr(err.text, "all of ours are 256 MiB"));
    assert_int_equal(fake_cuda.free_bytes, free_bytes);
    dr_device_close(device);
}

/* This block has room once others are freed. */
static void a_block_that_has_no_room_now_is_retriable(void **state)
{
    dr_device *device = open_device();
    void *first, *second;
    dr_error err;

    (void)state;
    assert_int_equal(dr_device_alloc(&first, device, SHARE_MIB * MIB / 2 + 1, &err), DR_OK);
    assert_int_equal(dr_device_alloc(&second, device, SHARE_MIB * MIB / 2 + 1, &err), DR_ENOMEM);
    assert_null(second);
    assert_true(err.retriable);
    assert_non_null(strstr(err.text, "are in use"));
    dr_device_free(device, first);
    assert_int_equal(dr_device_alloc(&second, device, SHARE_MIB * MIB / 2 + 1, &err), DR_OK);
    dr_device_free(device, second);
    dr_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_larger_than_our_share_is_not_retriable),
        cmocka_unit_test(a_block_that_has_no_room_now_is_retriable),
    };

    return cmocka_run_group_tests_name("device memory", tests, NULL, NULL);
}
