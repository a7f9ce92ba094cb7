#include "tests/support/machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

const int machine_threads[MACHINE_THREADS] = { 1, 2, 8 };

static int on_one(int (*run)(const machine *m), dr_isa isa, int threads)
{
    const dr_device_options options = { .name = "cpu", .isa = dr_isa_name(isa), .threads = threads };
    dr_error err = { 0 };
    char name[64];
    machine m = { .name = name, .isa = isa, .threads = threads };
    int failed;

    snprintf(name, sizeof(name), "%s, %d thread%s", options.isa, threads, threads == 1 ? "" : "s");
    if (dr_device_open(&m.device, &options, &err))
        fail_msg("%s: %s", name, err.text);
    failed = run(&m);
    dr_device_close(m.device);
    return failed;
}

/* "machines: generic, avx2 with 1, 2, 8 threads; this processor has no avx512, amx" */
static void say_which(void)
{
    const char *between = "machines: ";

    for (dr_isa isa = 0; isa < DR_ISAS; isa++)
        if (dr_kernels_of(isa))
            printf("%s%s", between, dr_isa_name(isa)), between = ", ";
    between = " with ";
    for (int i = 0; i < MACHINE_THREADS; i++)
        printf("%s%d", between, machine_threads[i]), between = ", ";
    printf(" threads");
    between = "; this processor has no ";
    for (dr_isa isa = 0; isa < DR_ISAS; isa++)
        if (!dr_kernels_of(isa))
            printf("%s%s", between, dr_isa_name(isa)), between = ", ";
    printf("\n");
}

int on_each_machine(int (*run)(const machine *m))
{
    int failed = 0;

    for (dr_isa isa = 0; isa < DR_ISAS; isa++)
        for (int i = 0; dr_kernels_of(isa) && i < MACHINE_THREADS; i++)
            failed += on_one(run, isa, machine_threads[i]);
    say_which();
    return failed;
}
