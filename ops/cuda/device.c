/* device.c - finds a CUDA device, opens it and closes it.  Nothing below calls this file. */
#include "ops/cuda/check.h"
#include "ops/cuda/cuda.h"
#include "ops/cuda/dnn_attention.h"
#include "ops/cuda/lanes.h"
#include "ops/cuda/memory.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/recording.h"
#include "ops/cuda/self_check.h"
#include "ops/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPABILITY_MIN = 80 }; /* Ampere: bf16 and asynchronous copies, which our kernels use */

/* --- finding a device ----------------------------------------------------------------- */

static dr_status count_devices(int *count, dr_error *err)
{
    const cudaError_t code = cudaGetDeviceCount(count);
    int driver = 0;

    if (code == cudaSuccess && *count > 0)
        return DR_OK;
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    if (code == cudaSuccess || code == cudaErrorNoDevice)
        return dr_fail(err, DR_ENOTFOUND, "no CUDA device can be seen on this machine");
    if (code == cudaErrorInsufficientDriver && driver == 0)
        return dr_fail(err, DR_ENOTFOUND, "no NVIDIA driver on this machine");
    if (code == cudaErrorInsufficientDriver)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "the NVIDIA driver is too old: it is for CUDA %d.%d, and %d.%d is needed",
                       driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return dr_fail(err, DR_EDEVICE, "CUDA can't be used: %s (%s)", cudaGetErrorString(code),
                   cudaGetErrorName(code));
}

static dr_status claim_device(cuda_device *d, dr_error *err)
{
    cudaError_t code =
        cudaInitDevice(d->ordinal, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid);

    if (code == cudaSuccess)
        code = cudaSetDevice(d->ordinal); /* of this thread, which owns the device */
    if (code == cudaErrorDevicesUnavailable)
        return dr_fail(err, DR_EDEVICE, "%s is busy, or closed to us: another process has it for itself",
                       d->name);
    if (code == cudaErrorMemoryAllocation)
        return dr_fail(err, DR_ENOMEM, "%s has no memory left to begin with: others have filled it", d->name);
    return cuda_check(d, code, "taking the device", err);
}

static dr_status check_capability(cuda_device *d, const struct cudaDeviceProp *p, dr_error *err)
{
    if (10 * p->major + p->minor >= CAPABILITY_MIN)
        return DR_OK;
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s has compute capability %d.%d, and %d.%d is needed", d->name,
                   p->name, p->major, p->minor, CAPABILITY_MIN / 10, CAPABILITY_MIN % 10);
}

/* Sets our share: the memory that was asked for, or all free memory without the reserve. */
static dr_status plan_memory(cuda_device *d, size_t asked, size_t *free_bytes, dr_error *err)
{
    size_t total;
    dr_status rc = cuda_check(d, cudaMemGetInfo(free_bytes, &total), "asking for its memory", err);

    if (rc)
        return rc;
    d->memory_max = *free_bytes > DR_CUDA_RESERVE_BYTES ? *free_bytes - DR_CUDA_RESERVE_BYTES : 0;
    if (asked && asked < d->memory_max)
        d->memory_max = asked;
    else if (asked > d->memory_max)
        return dr_fail(err, DR_ENOMEM,
                       "%s: %zu MiB of memory were asked for, and %zu of its %zu MiB can be had", d->name,
                       asked >> 20, d->memory_max >> 20, total >> 20);
    if (d->memory_max < DR_CUDA_MEMORY_BYTES_MIN)
        return dr_fail(err, DR_ENOMEM, "%s: too little memory: %zu of %zu MiB are free, and %d are needed",
                       d->name, *free_bytes >> 20, total >> 20,
                       (DR_CUDA_MEMORY_BYTES_MIN + DR_CUDA_RESERVE_BYTES) >> 20);
    return DR_OK;
}

/* --- the libraries' handles ---------------------------------------------------------- */

static dr_status open_blas(cuda_device *d, const char *folders, dr_error *err)
{
    dr_status rc = cuda_blas_open(&d->blas, folders, err);
    cublasStatus_t code;

    if (rc)
        return rc;
    code = d->blas.cublasLtCreate(&d->blas_handle);
    if (code != CUBLAS_STATUS_SUCCESS)
        return dr_fail(err, DR_EDEVICE, "%s: cuBLASLt does not start: %s", d->name,
                       d->blas.cublasLtGetStatusString(code));
    for (int lane = 0; lane < DR_LANES && !rc; lane++)
        rc = cuda_alloc(&d->blas_workspace[lane], &d->base, DR_CUDA_BLAS_WORKSPACE_BYTES, err);
    return rc;
}

/* Attention by cuDNN needs NVRTC, and a version of cuDNN that has attention. */
static dr_status check_attention(const cuda_device *d, const char *folders, dr_error *err)
{
    const size_t version = d->dnn.cudnnGetVersion();

    if (version < CUDA_DNN_ATTENTION_SINCE)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: cuDNN %zu.%zu.%zu has no attention for us: 9.13.1 has",
                       d->name, version / 10000, version / 100 % 100, version % 100);
    return cuda_nvrtc_open(folders, err);
}

static dr_status open_dnn(cuda_device *d, const char *folders, dr_error *err)
{
    dr_status rc = cuda_dnn_open(&d->dnn, folders, err);
    cudnnStatus_t code;

    if (!rc && d->dnn_attends)
        rc = check_attention(d, folders, err);
    if (rc)
        return rc;
    code = d->dnn.cudnnCreate(&d->dnn_handle);
    if (code != CUDNN_STATUS_SUCCESS)
        return dr_fail(err, DR_EDEVICE, "%s: cuDNN does not start: %s", d->name,
                       d->dnn.cudnnGetErrorString(code));
    return DR_OK;
}

/* Opens the table of what was measured on such a device with such libraries. */
static void open_plans(cuda_device *d, const char *folder, const struct cudaDeviceProp *p)
{
    char identity[CUDA_IDENTITY_BYTES];
    int driver = 0;
    dr_error why;

    cudaDriverGetVersion(&driver);
    snprintf(identity, sizeof(identity), "%.100s-sm%d%d-driver%d-runtime%d-cublaslt%zu", p->name, p->major,
             p->minor, driver, CUDART_VERSION, d->blas.cublasLtGetVersion());
    if (d->dnn_handle)
        snprintf(identity + strlen(identity), sizeof(identity) - strlen(identity), "-cudnn%zu",
                 d->dnn.cudnnGetVersion());
    if (cuda_plans_open(&d->plans, folder, identity, &why))
        cuda_note_plans(d, &why);
}

/* --- open and close ------------------------------------------------------------------ */

static void cuda_close(dr_device *device)
{
    cuda_device *d = cuda_of(device);

    dr_assert(d->recordings == 0);
    cuda_lanes_drain(d);
    cuda_dnn_kernels_close(d);
    if (d->dnn_handle)
        d->dnn.cudnnDestroy(d->dnn_handle);
    for (int lane = 0; lane < DR_LANES; lane++)
        cuda_free(device, d->blas_workspace[lane]);
    if (d->blas_handle)
        d->blas.cublasLtDestroy(d->blas_handle);
    cuda_plans_close(&d->plans);
    cuda_staging_close(d);
    cuda_lanes_close(d);
    cudaGetLastError();
    free(d->block);
    free(d);
}

static const dr_backend cuda_backend = {
    .name = "cuda",
    .lanes = &cuda_lanes,
    .close = cuda_close,
    .memory_left = cuda_memory_left,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .zero = cuda_zero,
    .recording_begin = cuda_recording_begin,
    .recording_end = cuda_recording_end,
    .recording_play = cuda_recording_play,
    .recording_free = cuda_recording_free,
    .linear_create = cuda_linear_create,
    .linear_free = cuda_linear_free,
    .conv_create = cuda_conv_create,
    .conv_free = cuda_conv_free,
    .linear = cuda_linear,
    .conv2d_stats = cuda_conv2d_stats,
    .concat_stats = cuda_concat_stats,
    .conv2d = cuda_conv2d,
    .group_norm = cuda_group_norm,
    .layer_norm = cuda_layer_norm,
    .attention = cuda_attention,
    .geglu = cuda_geglu,
    .activate = cuda_activate,
    .scale = cuda_scale,
    .concat = cuda_concat,
    .gather = cuda_gather,
    .lookup = cuda_lookup,
    .timestep_embedding = cuda_timestep_embedding,
    .unet_input = cuda_unet_input,
    .noise = cuda_noise,
    .sampler_step = cuda_sampler_step,
    .to_rgb8 = cuda_to_rgb8,
};

static void describe(cuda_device *d, const struct cudaDeviceProp *p, size_t free_bytes)
{
    const size_t blas = d->blas.cublasLtGetVersion(), dnn = d->dnn_handle ? d->dnn.cudnnGetVersion() : 0;
    const size_t room = sizeof(d->base.description);
    int driver = 0, used;

    cudaDriverGetVersion(&driver);
    used = snprintf(d->base.description, room,
                    "%s: %.63s, compute capability %d.%d, %s, %zu MiB of memory for us (%zu free of %zu), "
                    "driver for CUDA %d.%d, cuBLASLt %zu.%zu.%zu",
                    d->name, p->name, p->major, p->minor, d->base.activation_dtype == DR_F16 ? "f16" : "bf16",
                    d->memory_max >> 20, free_bytes >> 20, p->totalGlobalMem >> 20, driver / 1000,
                    driver % 1000 / 10, blas / 10000, blas / 100 % 100, blas % 100);
    if (dnn && used < (int)room)
        snprintf(d->base.description + used, room - (size_t)used, ", %s by cuDNN %zu.%zu.%zu",
                 !d->dnn_attends     ? "convolutions"
                 : !d->dnn_convolves ? "attention"
                                     : "convolutions and attention",
                 dnn / 10000, dnn / 100 % 100, dnn % 100);
}

static void say_arithmetic(cuda_device *d, const struct cudaDeviceProp *p)
{
    char dnn[48] = "";

    if (d->dnn_handle)
        snprintf(dnn, sizeof(dnn), " cudnn%zu%s%s", d->dnn.cudnnGetVersion(), d->dnn_convolves ? ":conv" : "",
                 d->dnn_attends ? ":attention" : "");
    snprintf(d->base.arithmetic, sizeof(d->base.arithmetic), "cuda sm%d%d %s cublaslt%zu%s%s%s%s", p->major,
             p->minor, d->base.activation_dtype == DR_F16 ? "f16" : "bf16", d->blas.cublasLtGetVersion(), dnn,
             d->wgmma_attention && d->wgmma_convs ? " wgmma"
             : d->wgmma_attention                 ? " wgmma:attention"
             : d->wgmma_convs                     ? " wgmma:conv"
                                                  : "",
             d->fp8_linears ? " fp8"
             : d->fp8_convs ? " fp8convs"
                            : "",
             d->fast ? " fast" : "");
}

/* sm_90a is for compute capability 9.0 alone: GPUs after Hopper have other instructions for products. */
static dr_status set_isa(cuda_device *d, const struct cudaDeviceProp *p, const char *isa, dr_error *err)
{
    const bool hopper = p->major == 9 && p->minor == 0;

    if (isa && strcmp(isa, "sm_80") != 0 && strcmp(isa, "sm_90a") != 0)
        return dr_fail(err, DR_EINVAL, "no instruction set '%s' of a GPU; there are: sm_80, sm_90a", isa);
    d->wgmma_attention = d->wgmma_convs = hopper && (!isa || !strcmp(isa, "sm_90a"));
    if (isa && !strcmp(isa, "sm_90a") && !hopper)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: %s has compute capability %d.%d, and sm_90a is for 9.0",
                       d->name, p->name, p->major, p->minor);
    return DR_OK;
}

static dr_status set_fp8(cuda_device *d, const struct cudaDeviceProp *p, const char *fp8, dr_error *err)
{
    if (!fp8 || !strcmp(fp8, "off"))
        return DR_OK;
    if (p->major != 9 || p->minor != 0)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: %s has compute capability %d.%d, and fp8 is for 9.0",
                       d->name, p->name, p->major, p->minor);
    if (!d->wgmma_convs)
        return dr_fail(err, DR_EINVAL, "%s: fp8 is multiplied by instructions of sm_90a, and isa is sm_80",
                       d->name);
    d->fp8_convs = true;
    d->fp8_linears = !strcmp(fp8, "all");
    return DR_OK;
}

/* A choice that nobody made is the first of its row. */
static bool is_chosen(const char *choice, const char *name)
{
    return choice && strcmp(choice, name) == 0;
}

/* Sets the options that are taken as they were asked for, on every device. */
static dr_status read_options(cuda_device *d, const dr_device_options *options, dr_error *err)
{
    d->fast = options->fast;
    d->base.activation_dtype = is_chosen(options->storage, "bf16") ? DR_BF16 : DR_F16;
    d->dnn_convolves = is_chosen(options->convolutions, "cudnn");
    d->dnn_attends = is_chosen(options->attention, "cudnn");
    return dr_device_options_check(options, err);
}

static dr_status open_ordinal(dr_device **out, const dr_device_options *options, int ordinal, dr_error *err)
{
    cuda_device *d = calloc(1, sizeof(*d));
    struct cudaDeviceProp properties;
    size_t free_bytes = 0;
    dr_status rc;

    if (!d)
        return dr_fail(err, DR_ENOMEM, "no memory for the device");
    d->base.backend = &cuda_backend;
    d->ordinal = ordinal;
    snprintf(d->name, sizeof(d->name), "cuda:%d", ordinal);
    rc = read_options(d, options, err);
    if (!rc)
        rc = cuda_check(d, cudaGetDeviceProperties(&properties, ordinal), "asking what it is", err);
    if (!rc)
        rc = check_capability(d, &properties, err);
    if (!rc)
        rc = set_isa(d, &properties, options->isa, err);
    if (!rc)
        rc = set_fp8(d, &properties, options->fp8, err);
    if (!rc)
        rc = claim_device(d, err);
    if (!rc)
        rc = plan_memory(d, options->memory_max, &free_bytes, err);
    if (!rc)
        rc = cuda_lanes_open(d, err);
    if (!rc)
        rc = cuda_staging_open(d, err);
    if (!rc)
        rc = open_blas(d, options->cuda_libs, err);
    if (!rc && (d->dnn_convolves || d->dnn_attends))
        rc = open_dnn(d, options->cuda_libs, err);
    if (!rc)
        open_plans(d, options->plan_cache, &properties);
    if (!rc && !options->unchecked)
        rc = cuda_self_check(d, options->isa != NULL, err);
    if (rc) {
        cuda_close(&d->base);
        return rc;
    }
    describe(d, &properties, free_bytes);
    say_arithmetic(d, &properties);
    *out = &d->base;
    return DR_OK;
}

dr_status dr_cuda_device_open(dr_device **out, const dr_device_options *options, int ordinal, dr_error *err)
{
    dr_error later;
    int count = 0;
    dr_status rc;

    *out = NULL;
    rc = count_devices(&count, err);
    if (rc)
        return rc;
    if (ordinal >= count)
        return dr_fail(err, DR_ENOTFOUND, "no device cuda:%d: this machine has %d, from cuda:0", ordinal,
                       count);
    if (ordinal != DR_CUDA_ANY)
        return open_ordinal(out, options, ordinal, err);
    rc = open_ordinal(out, options, 0, err);
    for (int i = 1; i < count && rc; i++)
        if (open_ordinal(out, options, i, &later) == DR_OK)
            return DR_OK;
    return rc;
}
