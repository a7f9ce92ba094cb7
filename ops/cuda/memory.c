/* memory.c - the device's memory within our share of it, and copies through pinned staging. */
#include "ops/cuda/memory.h"

#include "base/half.h"
#include "ops/cuda/check.h"

#include <stdlib.h>
#include <string.h>

/* --- allocation -------------------------------------------------------------------- */

/* Other processes may have taken memory that was free when the device was opened. */
size_t cuda_memory_left(const dr_device *device)
{
    const cuda_device *d = (const cuda_device *)device;
    size_t left = d->memory_max - d->memory_used, free_bytes, total;

    if (cudaMemGetInfo(&free_bytes, &total) == cudaSuccess && free_bytes < left)
        left = free_bytes;
    return left;
}

/* Our share would allow the block, but the device has none. */
static dr_status say_full(const cuda_device *d, size_t bytes, dr_error *err)
{
    size_t free_bytes = 0, total;

    cudaGetLastError(); /* clears the error, which does not last */
    cudaMemGetInfo(&free_bytes, &total);
    return dr_fail(
        err, DR_ENOMEM,
        "%s: no %zu bytes of memory: %zu of our %zu MiB are in use, and %zu MiB are free on the device",
        d->name, bytes, d->memory_used >> 20, d->memory_max >> 20, free_bytes >> 20);
}

/* The block is larger than all of our share, so it does not help to wait. */
static dr_status say_too_much(const cuda_device *d, size_t bytes, dr_error *err)
{
    const dr_status rc = dr_fail(err, DR_ENOMEM, "%s: no %zu bytes of memory: all of ours are %zu MiB",
                                 d->name, bytes, d->memory_max >> 20);

    if (err)
        err->retriable = false;
    return rc;
}

static dr_status remember(cuda_device *d, void *memory, size_t bytes, dr_error *err)
{
    if (d->blocks == d->block_room) {
        const size_t room = d->block_room ? 2 * d->block_room : 256;
        cuda_block *more = realloc(d->block, room * sizeof(*more));
        if (!more)
            return dr_fail(err, DR_ENOMEM, "no memory for a list of %zu blocks", room);
        d->block = more;
        d->block_room = room;
    }
    d->block[d->blocks++] = (cuda_block){ memory, bytes };
    d->memory_used += bytes;
    dr_assert(d->memory_used <= d->memory_max && d->blocks <= d->block_room);
    return DR_OK;
}

dr_status cuda_alloc(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    void *memory = NULL;
    dr_status rc = cuda_check_alive(d, err);

    if (rc)
        return rc;
    if (bytes == 0)
        bytes = 1; /* so that every block has an address of its own */
    if (bytes > d->memory_max)
        return say_too_much(d, bytes, err);
    if (bytes > d->memory_max - d->memory_used)
        return dr_fail(err, DR_ENOMEM, "%s: no %zu bytes of memory: %zu of our %zu MiB are in use", d->name,
                       bytes, d->memory_used >> 20, d->memory_max >> 20);
    const cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation)
        return say_full(d, bytes, err);
    rc = cuda_check(d, code, "allocating memory", err);
    if (rc)
        return rc;
    rc = remember(d, memory, bytes, err);
    if (rc) {
        cudaFree(memory);
        return rc;
    }
    *out = memory;
    return DR_OK;
}

/* Searches from the end, because the last block is mostly freed first.  The next call reports a failure. */
void cuda_free(dr_device *device, void *memory)
{
    cuda_device *d = cuda_of(device);
    size_t i = d->blocks;

    if (!memory)
        return;
    while (i > 0 && d->block[i - 1].memory != memory)
        i--;
    dr_assert(i > 0 && d->block[i - 1].bytes <= d->memory_used);
    d->memory_used -= d->block[i - 1].bytes;
    d->block[i - 1] = d->block[--d->blocks];
    cuda_check(d, cudaFree(memory), "freeing memory", NULL);
}

/* --- pinned memory ----------------------------------------------------------------- */

dr_status cuda_pinned_alloc(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = cuda_check_alive(d, err);
    cudaError_t code;

    *out = NULL;
    if (rc)
        return rc;
    code = cudaHostAlloc(out, bytes, cudaHostAllocDefault);
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* clears the error, which does not last */
        return dr_fail(err, DR_ENOMEM, "%s: no %zu bytes of pinned memory", d->name, bytes);
    }
    return cuda_check(d, code, "allocating pinned memory", err);
}

void cuda_pinned_free(dr_device *device, void *pinned)
{
    cuda_check(cuda_of(device), cudaFreeHost(pinned), "freeing pinned memory", NULL);
}

/* --- copies ------------------------------------------------------------------------ */

dr_status cuda_staging_open(cuda_device *d, dr_error *err)
{
    cuda_staging *s = &d->staging;
    void *memory = NULL;
    dr_status rc = cuda_check(d,
                              cudaHostAlloc(&memory, DR_CUDA_STAGING_BUFFERS * DR_CUDA_STAGING_BYTES,
                                            cudaHostAllocDefault),
                              "allocating pinned memory", err);

    s->memory = memory;
    for (int i = 0; i < DR_CUDA_STAGING_BUFFERS && !rc; i++)
        rc = cuda_check(d, cudaEventCreateWithFlags(&s->copied[i], cudaEventDisableTiming),
                        "creating an event", err);
    return rc;
}

void cuda_staging_close(cuda_device *d)
{
    for (int i = 0; i < DR_CUDA_STAGING_BUFFERS; i++)
        if (d->staging.copied[i])
            cudaEventDestroy(d->staging.copied[i]);
    if (d->staging.memory)
        cudaFreeHost(d->staging.memory);
}

static char *staging_buffer(cuda_device *d, unsigned buffer)
{
    return d->staging.memory + (size_t)buffer * DR_CUDA_STAGING_BYTES;
}

static size_t piece(size_t left)
{
    return left < DR_CUDA_STAGING_BYTES ? left : DR_CUDA_STAGING_BYTES;
}

/* Returns as soon as the host's bytes are in pinned memory.  The copy itself may be done later. */
dr_status cuda_upload_on(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = cuda_check_alive(d, err);

    for (size_t done = 0; done < bytes && !rc; done += piece(bytes - done)) {
        const unsigned buffer = d->staging.next++ % DR_CUDA_STAGING_BUFFERS;
        char *pinned = staging_buffer(d, buffer);
        rc = cuda_check(d, cudaEventSynchronize(d->staging.copied[buffer]), "waiting for a copy", err);
        if (rc)
            break;
        memcpy(pinned, (const char *)host + done, piece(bytes - done));
        rc = cuda_check(d,
                        cudaMemcpyAsync((char *)to + done, pinned, piece(bytes - done),
                                        cudaMemcpyHostToDevice, d->stream[lane]),
                        "copying to the device", err);
        if (!rc)
            rc = cuda_check(d, cudaEventRecord(d->staging.copied[buffer], d->stream[lane]),
                            "recording an event", err);
    }
    return rc;
}

dr_status cuda_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err)
{
    return cuda_upload_on(device, DR_LANE_DENOISE, to, host, bytes, err);
}

dr_status cuda_land(dr_device *device, dr_lane lane, void *pinned, const void *from, size_t bytes,
                    dr_error *err)
{
    cuda_device *d = cuda_of(device);

    return cuda_check(d, cudaMemcpyAsync(pinned, from, bytes, cudaMemcpyDeviceToHost, d->stream[lane]),
                      "copying from the device", err);
}

/* While one piece is copied from the device, the host copies the piece before it out of its buffer. */
dr_status cuda_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    size_t asked = 0, done = 0;
    unsigned first = d->staging.next;
    dr_status rc = cuda_check_alive(d, err);

    while (done < bytes && !rc) {
        if (asked < bytes && d->staging.next - first < DR_CUDA_STAGING_BUFFERS) {
            const unsigned buffer = d->staging.next++ % DR_CUDA_STAGING_BUFFERS;
            rc = cuda_check(d, cudaEventSynchronize(d->staging.copied[buffer]), "waiting for a copy", err);
            if (rc)
                break;
            rc = cuda_check(d,
                            cudaMemcpyAsync(staging_buffer(d, buffer), (const char *)from + asked,
                                            piece(bytes - asked), cudaMemcpyDeviceToHost,
                                            d->stream[DR_LANE_DENOISE]),
                            "copying from the device", err);
            if (!rc)
                rc = cuda_check(d, cudaEventRecord(d->staging.copied[buffer], d->stream[DR_LANE_DENOISE]),
                                "recording an event", err);
            asked += piece(bytes - asked);
        } else {
            const unsigned buffer = first++ % DR_CUDA_STAGING_BUFFERS;
            rc = cuda_check(d, cudaEventSynchronize(d->staging.copied[buffer]), "waiting for a copy", err);
            if (!rc)
                memcpy((char *)host + done, staging_buffer(d, buffer), piece(bytes - done));
            done += piece(bytes - done);
        }
    }
    return rc;
}

dr_status cuda_zero(dr_device *device, void *memory, size_t bytes, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = cuda_check_alive(d, err);

    if (!rc && bytes > 0)
        rc = cuda_check(d, cudaMemsetAsync(memory, 0, bytes, d->stream[DR_LANE_DENOISE]), "zeroing memory",
                        err);
    return rc;
}

/* --- weights ----------------------------------------------------------------------- */

static void convert(dr_dtype storage, void *to, size_t i, float value)
{
    if (storage == DR_E4M3)
        ((uint8_t *)to)[i] = dr_e4m3_from_float(value);
    else
        ((uint16_t *)to)[i] = storage == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

/* Converts and copies one piece after the other, so that no memory for all values is needed. */
dr_status cuda_put(cuda_device *d, void *to, const float *host, size_t values, dr_dtype storage,
                   dr_error *err)
{
    enum { PIECE = 8192 };
    const size_t size = dr_dtype_bytes(storage);
    uint16_t converted[PIECE];
    dr_status rc = DR_OK;

    if (storage == DR_F32)
        return cuda_upload(&d->base, to, host, values * size, err);
    for (size_t done = 0, n; done < values && !rc; done += n) {
        n = values - done < PIECE ? values - done : PIECE;
        for (size_t i = 0; i < n; i++)
            convert(storage, converted, i, host[done + i]);
        rc = cuda_upload(&d->base, (char *)to + done * size, converted, n * size, err);
    }
    return rc;
}

dr_status cuda_pack(cuda_device *d, void **out, const float *host, size_t values, dr_dtype storage,
                    dr_error *err)
{
    dr_status rc = cuda_alloc(out, &d->base, values * dr_dtype_bytes(storage), err);

    return rc ? rc : cuda_put(d, *out, host, values, storage, err);
}
