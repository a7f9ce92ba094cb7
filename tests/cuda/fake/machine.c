/* machine.c - the made-up machine on which the tests of tests/gpu run. */
#include "tests/gpu/machine.h"

#include "tests/cuda/fake/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

int machine_begin(void)
{
    fake_cuda_reset();
    return MACHINE_OK;
}

bool machine_has_time(void)
{
    return false;
}

int machine_graphs_launched(void)
{
    return fake_cuda.launches;
}

size_t machine_free_bytes(void)
{
    return SIZE_MAX / 2 -
           (size_t)(fake_cuda.blocks + fake_cuda.graphs + fake_cuda.events + fake_cuda.handles);
}

void machine_assert_clean(void)
{
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.pinned, 0);
    assert_int_equal(fake_cuda.events, 0);
    assert_int_equal(fake_cuda.streams, 0);
    assert_int_equal(fake_cuda.handles, 0);
    assert_int_equal(fake_cuda.graphs, 0);
}
