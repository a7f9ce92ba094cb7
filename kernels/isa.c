#include "kernels/isa.h"

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/winograd.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The tables of an instruction set, without Winograd's.  Attention and matrix products come from
 * `products`, and the rest from `name`. */
#define KERNELS_WITH(products, name)                                                                  \
    .isa = #products, .elementwise = &dr_elementwise_kernels_##name, .norm = &dr_norm_kernels_##name, \
    .attention = &dr_attention_kernels_##products, .matmul = &dr_matmul_kernels_##products

#define KERNELS(name)                                                      \
    {                                                                      \
        KERNELS_WITH(name, name), .winograd = &dr_winograd_kernels_##name, \
    }

static const dr_kernels kernels[DR_ISAS] = {
    [DR_ISA_GENERIC] = KERNELS(generic),
    [DR_ISA_AVX2] = KERNELS(avx2),
    [DR_ISA_AVX512] = KERNELS(avx512),
    [DR_ISA_AMX] = { KERNELS_WITH(amx, avx512) },
};

/* Ask Linux to save the registers of the matrix unit for this process: arch_prctl(ARCH_REQ_XCOMP_PERM,
 * XFEATURE_XTILEDATA).  Linux does so only when it is asked.  Asking again does no harm. */
static bool may_use_tiles(void)
{
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

/* The compiler's builtin asks the processor, and also whether the system saves the registers. */
static bool machine_has(dr_isa isa)
{
    switch (isa) {
    case DR_ISA_GENERIC:
        return true;
    case DR_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
    case DR_ISA_AVX512:
        return machine_has(DR_ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    case DR_ISA_AMX:
        return machine_has(DR_ISA_AVX512) && __builtin_cpu_supports("avx512bf16") &&
               __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") && may_use_tiles();
    case DR_ISAS:
        break;
    }
    return false;
}

const char *dr_isa_name(dr_isa isa)
{
    return kernels[isa].isa;
}

const dr_kernels *dr_kernels_of(dr_isa isa)
{
    return machine_has(isa) ? &kernels[isa] : NULL;
}

const dr_kernels *dr_kernels_named(const char *isa)
{
    for (dr_isa i = 0; i < DR_ISAS; i++)
        if (!strcmp(isa, dr_isa_name(i)))
            return dr_kernels_of(i);
    return NULL;
}

const dr_kernels *dr_kernels_best(void)
{
    dr_isa isa = DR_ISAS - 1;

    while (!machine_has(isa))
        isa--;
    return &kernels[isa];
}
