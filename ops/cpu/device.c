/* device.c - opening the CPU: instruction set, threads, plain memory. */
#include "ops/cpu/cpu.h"

#include "base/cores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cpu_close(dr_device *device)
{
    cpu_device *cpu = cpu_of(device);

    cpu_threads_stop(cpu->threads);
    free(cpu);
}

static const dr_backend cpu_backend = {
    .name = "cpu",
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .zero = cpu_zero,
    .group_norm = cpu_group_norm,
    .layer_norm = cpu_layer_norm,
    .attention = cpu_attention,
    .geglu = cpu_geglu,
    .activate = cpu_activate,
    .scale = cpu_scale,
    .concat = cpu_concat,
    .gather = cpu_gather,
    .lookup = cpu_lookup,
    .timestep_embedding = cpu_timestep_embedding,
    .unet_input = cpu_unet_input,
    .noise = cpu_noise,
    .sampler_step = cpu_sampler_step,
    .to_rgb8 = cpu_to_rgb8,
    .linear_create = cpu_linear_create,
    .linear_free = cpu_linear_free,
    .conv_create = cpu_conv_create,
    .conv_free = cpu_conv_free,
    .linear = cpu_linear,
    .conv2d = cpu_conv2d,
};

static int default_threads(void)
{
    const int cores = dr_cores();

    return cores < DR_THREADS_MAX ? cores : DR_THREADS_MAX;
}

dr_status dr_cpu_device_open(dr_device **out, const dr_device_options *options, dr_error *err)
{
    const dr_kernels *kernels = options->isa ? dr_kernels_named(options->isa) : dr_kernels_best();
    cpu_device *cpu;
    dr_status rc;

    *out = NULL;
    if (options->threads < 0 || options->threads > DR_THREADS_MAX)
        return dr_fail(err, DR_EINVAL, "threads %d: must be from 0 to %d", options->threads, DR_THREADS_MAX);
    if (!kernels)
        return dr_fail(err, DR_EUNSUPPORTED, "no instruction set '%s' on this machine", options->isa);
    cpu = calloc(1, sizeof(*cpu));
    if (!cpu)
        return dr_fail(err, DR_ENOMEM, "no memory for the device");
    cpu->base.backend = &cpu_backend;
    cpu->base.activation_dtype = DR_F32;
    cpu->kernels = kernels;
    cpu->thread_count = options->threads > 0 ? options->threads : default_threads();
    rc = cpu_threads_start(&cpu->threads, cpu->thread_count, err);
    if (rc) {
        free(cpu);
        return rc;
    }
    snprintf(cpu->base.description, sizeof(cpu->base.description), "cpu: %d threads, %s", cpu->thread_count,
             kernels->isa);
    snprintf(cpu->base.arithmetic, sizeof(cpu->base.arithmetic), "cpu %s", kernels->isa);
    *out = &cpu->base;
    return DR_OK;
}
