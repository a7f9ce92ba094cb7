/* The arena gives the same offsets for the same calls, never overlaps, and reuses gaps. */
#include "ops/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void planning_gives_the_offsets_of_the_run(void **state)
{
    static char memory[1024] __attribute__((aligned(64)));
    dr_arena plan, run;
    (void)state;

    dr_arena_init(&plan, NULL, SIZE_MAX);
    dr_arena_init(&run, memory, sizeof(memory));
    const char *p0 = dr_arena_take(&plan, 100), *r0 = dr_arena_take(&run, 100);
    const char *p1 = dr_arena_take(&plan, 64), *r1 = dr_arena_take(&run, 64);
    assert_int_equal(p1 - p0, r1 - r0);
    assert_int_equal(p1 - p0, 128);
    dr_arena_release(&plan, p0);
    dr_arena_release(&run, r0);
    p0 = dr_arena_take(&plan, 128);
    assert_int_equal(p1 - p0, 128);
    assert_int_equal(plan.peak, 192);
}

static void a_full_arena_refuses(void **state)
{
    static char memory[256] __attribute__((aligned(64)));
    dr_arena a;
    (void)state;

    dr_arena_init(&a, memory, sizeof(memory));
    assert_null(dr_arena_take(&a, 0));
    assert_null(dr_arena_take(&a, 257));
    assert_null(dr_arena_take(&a, SIZE_MAX));
    assert_non_null(dr_arena_take(&a, 256));
    assert_null(dr_arena_take(&a, 1));
}

static void blocks_never_overlap(void **state)
{
    struct {
        char *at;
        size_t size;
    } live[32] = { 0 };
    static char memory[1 << 16] __attribute__((aligned(64)));
    uint32_t random = 1;
    dr_arena a;
    (void)state;

    dr_arena_init(&a, memory, sizeof(memory));
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525u + 1013904223u;
        const int slot = (int)(random >> 24) % 32;
        if (live[slot].at) {
            dr_arena_release(&a, live[slot].at);
            live[slot].at = NULL;
            continue;
        }
        live[slot].size = 1 + (random >> 8) % 4000;
        live[slot].at = dr_arena_take(&a, live[slot].size);
        for (int i = 0; live[slot].at && i < 32; i++)
            if (i != slot && live[i].at)
                assert_true(live[slot].at + live[slot].size <= live[i].at ||
                            live[i].at + live[i].size <= live[slot].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planning_gives_the_offsets_of_the_run),
        cmocka_unit_test(a_full_arena_refuses),
        cmocka_unit_test(blocks_never_overlap),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
