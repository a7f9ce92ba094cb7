/* cpu.h - the CPU backend: our kernels (kernels/), cut over threads (threads.h).
 *
 * Float32, channels last.  Only ops/cpu includes this. */
#ifndef DR_OPS_CPU_CPU_H
#define DR_OPS_CPU_CPU_H

#include "kernels/elementwise.h"
#include "kernels/isa.h"
#include "ops/backend.h"
#include "ops/cpu/threads.h"

typedef struct cpu_device {
    dr_device base;
    int thread_count;
    cpu_threads *threads;
    const dr_kernels *kernels; /* of the instruction set that was chosen */
} cpu_device;

static inline cpu_device *cpu_of(dr_device *device)
{
    return (cpu_device *)device;
}

/* A grain for loops whose cost is the memory they pass over: items of `values` floats in pieces of some
 * 64 KiB, which pass by in 5 us; less is not worth another thread's waking. */
static inline size_t cpu_grain(size_t values)
{
    return values < 16384 ? 16384 / (values ? values : 1) : 1;
}

/* memory.c: DR_ARENA_ALIGN-byte aligned, to be freed with free(); NULL: none is left. */
void *cpu_memory(size_t bytes);

/* memory.c: as dr_backend has them (ops/backend.h). */
dr_status cpu_alloc(void **out, dr_device *device, size_t bytes, dr_error *err);
void cpu_free(dr_device *device, void *memory);
dr_status cpu_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status cpu_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
dr_status cpu_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

/* linear.c, conv.c */
dr_status cpu_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err);
void cpu_linear_free(dr_linear *linear);
dr_status cpu_linear(dr_pass *p, const dr_linear_args *a);
dr_status cpu_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err);
void cpu_conv_free(dr_conv *conv);
dr_status cpu_conv2d(dr_pass *p, const dr_conv2d_args *a);

/* norm.c */
dr_status cpu_group_norm(dr_pass *p, const dr_group_norm_args *a);
dr_status cpu_layer_norm(dr_pass *p, const dr_layer_norm_args *a);

/* attention.c */
dr_status cpu_attention(dr_pass *p, const dr_attention_args *a);

/* elementwise.c */
dr_unary_loop *cpu_activation(const cpu_device *cpu, dr_activation activation); /* NULL: none */
dr_status cpu_geglu(dr_pass *p, const dr_geglu_args *a);
dr_status cpu_activate(dr_pass *p, const dr_activate_args *a);
dr_status cpu_scale(dr_pass *p, const dr_scale_args *a);
dr_status cpu_concat(dr_pass *p, const dr_concat_args *a);
dr_status cpu_gather(dr_pass *p, const dr_gather_args *a);
dr_status cpu_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a);

/* sampling.c */
dr_status cpu_lookup(dr_pass *p, const dr_lookup_args *a);
dr_status cpu_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a);
dr_status cpu_unet_input(dr_pass *p, const dr_unet_input_args *a);
dr_status cpu_noise(dr_pass *p, const dr_noise_args *a);
dr_status cpu_sampler_step(dr_pass *p, const dr_sampler_step_args *a);

#endif
