#include "ops/lanes.h"

#include "ops/backend.h"
#include "ops/clock.h"

#include <stdlib.h>

static bool is_lane(dr_lane lane)
{
    return (int)lane >= 0 && lane < DR_LANES;
}

bool dr_device_has_lanes(const dr_device *device)
{
    return device->backend->lanes != NULL;
}

dr_status dr_lane_wait(dr_device *device, dr_lane lane, dr_lane on, dr_error *err)
{
    const dr_lanes_backend *b = device->backend->lanes;

    dr_assert(is_lane(lane) && is_lane(on));
    return b && lane != on ? b->wait(device, lane, on, err) : DR_OK;
}

dr_status dr_lanes_meet(dr_device *device, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int on = 1; on < DR_LANES && !rc; on++)
        rc = dr_lane_wait(device, DR_LANE_DENOISE, (dr_lane)on, err);
    for (int lane = 1; lane < DR_LANES && !rc; lane++)
        rc = dr_lane_wait(device, (dr_lane)lane, DR_LANE_DENOISE, err);
    return rc;
}

dr_status dr_lanes_drain(dr_device *device, dr_error *err)
{
    const dr_lanes_backend *b = device->backend->lanes;

    return b ? b->drain(device, err) : DR_OK;
}

dr_status dr_lane_upload(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err)
{
    const dr_lanes_backend *b = device->backend->lanes;

    dr_assert(is_lane(lane));
    return b ? b->upload(device, lane, to, host, bytes, err)
             : device->backend->upload(device, to, host, bytes, err);
}

/* --- marks ------------------------------------------------------------------------------ */

dr_status dr_mark_create(dr_mark **out, dr_device *device, dr_error *err)
{
    const dr_lanes_backend *b = device->backend->lanes;

    *out = NULL;
    if (b)
        return b->mark_create(out, device, err);
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return dr_fail(err, DR_ENOMEM, "no memory for a mark");
    (*out)->device = device;
    return DR_OK;
}

void dr_mark_free(dr_mark *mark)
{
    if (!mark)
        return;
    if (mark->device->backend->lanes)
        mark->device->backend->lanes->mark_free(mark);
    else
        free(mark);
}

dr_status dr_mark_set(dr_mark *mark, dr_lane lane, dr_error *err)
{
    dr_assert(is_lane(lane));
    if (mark->device->backend->lanes)
        return mark->device->backend->lanes->mark_set(mark, lane, err);
    mark->set_s = dr_host_clock_s();
    return DR_OK;
}

dr_status dr_mark_wait(dr_mark *mark, dr_error *err)
{
    const dr_lanes_backend *b = mark->device->backend->lanes;

    return b ? b->mark_wait(mark, err) : DR_OK;
}

dr_status dr_mark_reached(dr_mark *mark, bool *reached, dr_error *err)
{
    const dr_lanes_backend *b = mark->device->backend->lanes;

    *reached = true;
    return b ? b->mark_reached(mark, reached, err) : DR_OK;
}

dr_status dr_mark_seconds(const dr_mark *begin, const dr_mark *end, double *seconds, dr_error *err)
{
    const dr_lanes_backend *b = begin->device->backend->lanes;

    dr_assert(begin->device == end->device);
    *seconds = end->set_s - begin->set_s;
    return b ? b->mark_seconds(begin, end, seconds, err) : DR_OK;
}

/* --- landings ----------------------------------------------------------------------------- */

struct dr_landing {
    dr_device *device;
    dr_mark *landed;
    void *memory; /* pinned, where the device has lanes */
    size_t bytes;
};

dr_status dr_landing_create(dr_landing **out, dr_device *device, size_t bytes, dr_error *err)
{
    const dr_lanes_backend *b = device->backend->lanes;
    dr_landing *l = calloc(1, sizeof(*l));
    dr_status rc;

    *out = NULL;
    if (!l)
        return dr_fail(err, DR_ENOMEM, "no memory for a landing");
    l->device = device;
    l->bytes = bytes;
    rc = dr_mark_create(&l->landed, device, err);
    if (!rc && b)
        rc = b->pinned_alloc(&l->memory, device, bytes, err);
    if (!b)
        l->memory = malloc(bytes);
    if (!rc && !l->memory)
        rc = dr_fail(err, DR_ENOMEM, "no %zu bytes of host memory for a landing", bytes);
    if (rc) {
        dr_landing_free(l);
        return rc;
    }
    *out = l;
    return DR_OK;
}

void dr_landing_free(dr_landing *l)
{
    if (!l)
        return;
    if (!l->device->backend->lanes)
        free(l->memory);
    else if (l->memory)
        l->device->backend->lanes->pinned_free(l->device, l->memory);
    dr_mark_free(l->landed);
    free(l);
}

dr_status dr_landing_begin(dr_landing *l, dr_lane lane, const void *from, dr_error *err)
{
    const dr_lanes_backend *b = l->device->backend->lanes;
    dr_status rc;

    dr_assert(is_lane(lane));
    if (!b)
        return l->device->backend->download(l->device, l->memory, from, l->bytes, err);
    rc = b->land(l->device, lane, l->memory, from, l->bytes, err);
    return rc ? rc : dr_mark_set(l->landed, lane, err);
}

bool dr_landing_ready(dr_landing *l)
{
    bool reached;

    return dr_mark_reached(l->landed, &reached, NULL) != DR_OK || reached;
}

dr_status dr_landing_wait(dr_landing *l, const void **bytes, dr_error *err)
{
    *bytes = l->memory;
    return dr_mark_wait(l->landed, err);
}
