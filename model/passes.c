#include "model/passes.h"

dr_lane dr_passes_lane(const dr_passes *s, dr_pass_kind kind)
{
    static const dr_lane lanes[DR_PASS_KINDS] = { [DR_PASS_TEXT] = DR_LANE_TEXT,
                                                  [DR_PASS_TIME] = DR_LANE_TEXT,
                                                  [DR_PASS_UNET] = DR_LANE_DENOISE,
                                                  [DR_PASS_SNAPSHOT] = DR_LANE_DENOISE,
                                                  [DR_PASS_DECODE] = DR_LANE_DECODE };

    return dr_device_has_lanes(s->device) ? lanes[kind] : DR_LANE_DENOISE;
}

static dr_status play(dr_passes *s, bool planning, dr_lane lane, dr_pass_size size, dr_pass_body body,
                      void *arg, size_t *peak, dr_error *err)
{
    const dr_pass_arena *a = &s->arena[lane];
    dr_arena arena;
    dr_pass pass = { .device = s->device, .lane = lane, .arena = &arena, .planning = planning };

    dr_arena_init(&arena, planning ? NULL : a->memory, planning ? SIZE_MAX : a->capacity);
    body(&pass, arg, size);
    if (pass.error.status) {
        if (err)
            *err = pass.error;
        return pass.error.status;
    }
    dr_assert(arena.live == 0); /* the arena is back at its mark: what a pass takes it releases */
    dr_assert(planning || arena.peak <= a->needed);
    *peak = arena.peak;
    return DR_OK;
}

dr_status dr_passes_plan(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err)
{
    bool *const planned = &s->planned[kind][size.samples][size.rows];
    const dr_lane lane = dr_passes_lane(s, kind);
    size_t peak;
    dr_status rc;

    dr_assert(size.rows >= 1 && size.rows <= DR_PASS_ROWS_MAX);
    dr_assert(size.samples >= 0 && size.samples <= DR_SAMPLES_MAX);
    if (*planned)
        return DR_OK;
    rc = play(s, true, lane, size, body, arg, &peak, err);
    if (rc)
        return rc;
    if (peak > s->arena[lane].needed)
        s->arena[lane].needed = peak;
    *planned = true;
    return DR_OK;
}

/* --- recordings ------------------------------------------------------------------------ */

static dr_recording *find_recording(const dr_passes *s, dr_pass_size size)
{
    for (int i = 0; i < s->recordings; i++)
        if (s->recorded[i].size.rows == size.rows && s->recorded[i].size.samples == size.samples)
            return s->recorded[i].recording;
    return NULL;
}

static void forget_recordings(dr_passes *s)
{
    for (int i = 0; i < s->recordings; i++)
        dr_recording_free(s->recorded[i].recording);
    s->recordings = 0;
}

/* Play a pass into a recording.  If the body fails, the recording is thrown away. */
static dr_status record(dr_passes *s, dr_pass_size size, dr_pass_body body, void *arg, dr_error *err)
{
    dr_recording *recording;
    dr_status rc, end;
    size_t peak;

    rc = dr_recording_begin(s->device, err);
    if (rc)
        return rc;
    rc = play(s, false, DR_LANE_DENOISE, size, body, arg, &peak, err);
    end = dr_recording_end(&recording, s->device, rc ? NULL : err);
    if (rc) {
        dr_recording_free(recording);
        return rc;
    }
    dr_assert(s->recordings < DR_RECORDINGS_MAX && !find_recording(s, size));
    if (!end)
        s->recorded[s->recordings++] = (dr_pass_recording){ size, recording };
    return end;
}

/* --- memory ------------------------------------------------------------------------------ */

/* Make the lane's arena as large as it is needed.  It is empty between passes, so its memory may be
 * replaced.  Freeing the old memory waits for the device. */
static dr_status reserve(dr_passes *s, dr_lane lane, dr_error *err)
{
    dr_pass_arena *a = &s->arena[lane];
    dr_status rc;

    if (a->capacity >= a->needed)
        return DR_OK;
    if (lane == DR_LANE_DENOISE)
        forget_recordings(s); /* they use the old memory */
    dr_device_free(s->device, a->memory);
    a->capacity = 0;
    rc = dr_device_alloc(&a->memory, s->device, a->needed, err);
    if (!rc)
        a->capacity = a->needed;
    return rc;
}

dr_status dr_passes_reserve(dr_passes *s, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int lane = 0; lane < DR_LANES && !rc; lane++)
        rc = reserve(s, (dr_lane)lane, err);
    return rc;
}

size_t dr_passes_bytes(const dr_passes *s)
{
    size_t bytes = 0;

    for (int lane = 0; lane < DR_LANES; lane++)
        bytes += s->arena[lane].needed;
    return bytes;
}

static dr_status play_plain(dr_passes *s, dr_lane lane, dr_pass_size size, dr_pass_body body, void *arg,
                            dr_error *err)
{
    size_t peak;
    dr_status rc;

    dr_device_begin_pass(s->device, lane);
    rc = play(s, false, lane, size, body, arg, &peak, err);
    dr_device_end_pass(s->device, lane);
    return rc;
}

static bool may_be_recorded(const dr_passes *s, dr_pass_size size)
{
    return dr_device_records(s->device) && s->played[size.samples][size.rows] &&
           (find_recording(s, size) || s->recordings < DR_RECORDINGS_MAX);
}

/* A pass is planned before memory is reserved for it, and memory is reserved before it is played. */
static void check_is_playable(const dr_passes *s, dr_pass_kind kind, dr_pass_size size)
{
    const dr_pass_arena *a = &s->arena[dr_passes_lane(s, kind)];

    dr_assert(s->planned[kind][size.samples][size.rows]);
    dr_assert(a->capacity >= a->needed && (a->memory || a->needed == 0));
}

dr_status dr_passes_play(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err)
{
    const dr_lane lane = dr_passes_lane(s, kind);
    dr_status rc;

    rc = dr_passes_plan(s, kind, size, body, arg, err);
    if (rc)
        return rc;
    rc = dr_passes_reserve(s, err);
    if (rc)
        return rc;
    check_is_playable(s, kind, size);
    if (kind != DR_PASS_UNET || !may_be_recorded(s, size)) {
        rc = play_plain(s, lane, size, body, arg, err);
        s->played[size.samples][size.rows] |= kind == DR_PASS_UNET && !rc;
        return rc;
    }
    if (!find_recording(s, size))
        rc = record(s, size, body, arg, err);
    if (rc)
        return rc;
    dr_device_begin_pass(s->device, lane);
    rc = dr_recording_play(find_recording(s, size), err);
    dr_device_end_pass(s->device, lane);
    return rc;
}

void dr_passes_free(dr_passes *s)
{
    forget_recordings(s);
    for (int lane = 0; lane < DR_LANES; lane++)
        dr_device_free(s->device, s->arena[lane].memory);
}
