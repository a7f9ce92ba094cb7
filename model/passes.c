#include "model/passes.h"

static dr_status play(dr_passes *s, bool planning, dr_pass_size size, dr_pass_body body, void *arg,
                      size_t *peak, dr_error *err)
{
    dr_arena arena;
    dr_pass pass = { .device = s->device, .arena = &arena, .planning = planning };

    dr_arena_init(&arena, planning ? NULL : s->memory, planning ? SIZE_MAX : s->capacity);
    body(&pass, arg, size);
    if (pass.error.status) {
        if (err)
            *err = pass.error;
        return pass.error.status;
    }
    dr_assert(arena.live == 0); /* what a pass takes it releases */
    *peak = arena.peak;
    return DR_OK;
}

dr_status dr_passes_plan(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err)
{
    bool *const planned = &s->planned[kind][size.samples][size.rows];
    size_t peak;
    dr_status rc;

    dr_assert(size.rows >= 1 && size.rows <= DR_PASS_ROWS_MAX);
    dr_assert(size.samples >= 0 && size.samples <= DR_SAMPLES_MAX);
    if (*planned)
        return DR_OK;
    rc = play(s, true, size, body, arg, &peak, err);
    if (rc)
        return rc;
    if (peak > s->needed)
        s->needed = peak;
    *planned = true;
    return DR_OK;
}

/* Between passes nothing lives in the arena, so it may move. */
dr_status dr_passes_reserve(dr_passes *s, dr_error *err)
{
    if (s->capacity >= s->needed)
        return DR_OK;
    dr_device_free(s->device, s->memory);
    s->capacity = 0;
    s->memory = dr_device_alloc(s->device, s->needed, err);
    if (!s->memory)
        return DR_ENOMEM;
    s->capacity = s->needed;
    return DR_OK;
}

dr_status dr_passes_play(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err)
{
    size_t peak;
    dr_status rc;

    rc = dr_passes_plan(s, kind, size, body, arg, err);
    if (rc)
        return rc;
    rc = dr_passes_reserve(s, err);
    if (rc)
        return rc;
    return play(s, false, size, body, arg, &peak, err);
}

void dr_passes_free(dr_passes *s)
{
    dr_device_free(s->device, s->memory);
}
