/* isa.h - host loops that exist once for each instruction set, and the choice among them at run time.
 *
 * A file kernels/NAME_isa.c is compiled three times (the Makefile says with which flags), each time
 * with DR_ISA set to one of these names:
 *
 *     generic   any x86-64: SSE2, no fused multiply-add
 *     avx2      AVX2, FMA, F16C
 *     avx512    AVX-512 F, BW, DQ, VL as well
 *
 * A fourth, amx, is avx512 with matrix products by AMX (kernels/matmul_amx.c).
 *
 * The file holds static functions.  At its end it has one table of them, whose type NAME.h declares:
 *
 *     NAME.h       typedef struct dr_NAME_kernels { void (*loop)(...); } dr_NAME_kernels;
 *                  DR_EACH_ISA(dr_NAME_kernels);
 *     NAME_isa.c   const dr_NAME_kernels DR_ISA_NAME(dr_NAME_kernels) = { .loop = loop };
 *     isa.c        .NAME = &dr_NAME_kernels_avx512, ...
 *
 * Callers (ops/cpu) reach them through the dr_kernels that their device keeps:
 *
 *     cpu->kernels->norm->layer_norm(...)
 *
 * Everything here is constant: any thread may call it. */
#ifndef DR_KERNELS_ISA_H
#define DR_KERNELS_ISA_H

#define DR_ISA_PASTE_(a, b) a##_##b
#define DR_ISA_PASTE(a, b) DR_ISA_PASTE_(a, b)
#define DR_ISA_NAME(name) DR_ISA_PASTE(name, DR_ISA)

/* Declare the three tables of one type, each named type_isa. */
#define DR_EACH_ISA(type) extern const type type##_generic, type##_avx2, type##_avx512

typedef enum dr_isa { DR_ISA_GENERIC, DR_ISA_AVX2, DR_ISA_AVX512, DR_ISA_AMX, DR_ISAS } dr_isa;

typedef struct dr_kernels {
    const char *isa; /* "generic", "avx2", "avx512", "amx" */
    const struct dr_elementwise_kernels *elementwise;
    const struct dr_norm_kernels *norm;
    const struct dr_attention_kernels *attention;
    const struct dr_matmul_kernels *matmul;
    const struct dr_winograd_kernels *winograd; /* NULL where plain products are faster: amx */
} dr_kernels;

/* The name of an instruction set: "avx2".  Works on any machine. */
const char *dr_isa_name(dr_isa isa);

/* The kernels of an instruction set; NULL: this machine does not have it. */
const dr_kernels *dr_kernels_of(dr_isa isa);

/* The same by name; NULL: no instruction set has this name, or this machine does not have it. */
const dr_kernels *dr_kernels_named(const char *isa);

/* The kernels of the widest instruction set that this machine has; never NULL. */
const dr_kernels *dr_kernels_best(void);

#endif
