#include "ops/cuda/self_check_rig.h"

#include "base/half.h"
#include "ops/cuda/check.h"
#include "ops/cuda/memory.h"

#include <math.h>

void *self_check_device_room(self_check_rig *rig, size_t bytes)
{
    void *at = rig->device + rig->device_used;

    rig->device_used += (bytes + 255) / 256 * 256;
    dr_assert(rig->device_used <= SELF_CHECK_DEVICE_BYTES);
    return at;
}

float *self_check_host_room(self_check_rig *rig, size_t floats)
{
    float *at = rig->host + rig->host_used;

    rig->host_used += floats;
    dr_assert(rig->host_used <= SELF_CHECK_HOST_FLOATS);
    return at;
}

void self_check_make_up(float *to, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t mixed = ((uint32_t)i + seed) * 2654435761u;

        to[i] = (float)(mixed >> 16) * 9.0f / 65536.0f;
        to[i] = (floorf(to[i]) - 4.0f) / 4.0f;
    }
}

static uint16_t stored_of(const self_check_rig *rig, float value)
{
    return rig->storage == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

static float value_of(const self_check_rig *rig, uint16_t stored)
{
    return rig->storage == DR_F16 ? dr_float_from_f16(stored) : dr_float_from_bf16(stored);
}

float self_check_rounded(const self_check_rig *rig, float value)
{
    return value_of(rig, stored_of(rig, value));
}

static void store(const self_check_rig *rig, void *to, size_t i, dr_dtype dtype, float value)
{
    if (dtype == DR_F32)
        ((float *)to)[i] = value;
    else if (dtype == DR_E4M3)
        ((uint8_t *)to)[i] = dr_e4m3_from_float(value);
    else
        ((uint16_t *)to)[i] = stored_of(rig, value);
}

dr_status self_check_made_up(self_check_rig *rig, made *m, size_t count, dr_dtype dtype, uint32_t seed,
                             dr_error *err)
{
    const size_t bytes = count * dr_dtype_bytes(dtype);
    void *stored = self_check_host_room(rig, count);

    m->host = self_check_host_room(rig, count);
    m->device = self_check_device_room(rig, bytes);
    self_check_make_up(m->host, count, seed);
    for (size_t i = 0; i < count; i++)
        store(rig, stored, i, dtype, m->host[i]);
    return cuda_upload(&rig->d->base, m->device, stored, bytes, err);
}

dr_status self_check_fetch(self_check_rig *rig, made *m, size_t count, const char *what, dr_error *err)
{
    uint16_t *stored = (uint16_t *)self_check_host_room(rig, count);
    dr_status rc = cuda_check(rig->d, cudaPeekAtLastError(), what, err);

    m->host = self_check_host_room(rig, count);
    if (!rc)
        rc = cuda_download(&rig->d->base, stored, m->device, count * sizeof(*stored), err);
    for (size_t i = 0; i < count && !rc; i++)
        m->host[i] = value_of(rig, stored[i]);
    return rc;
}

dr_status self_check_wrong(const self_check_rig *rig, const char *what, size_t index, float got, float wanted,
                           dr_error *err)
{
    return dr_fail(err, DR_EDEVICE, "%s computes wrongly: %s (%s): value %zu is %g, and should be %g",
                   rig->d->name, what, rig->wgmma ? "sm_90a" : "sm_80", index, (double)got, (double)wanted);
}
