#include "model/passes.h"

static dr_status play(dr_passes *s, bool planning, int rows, dr_pass_body body, void *arg, size_t *peak,
                      dr_error *err)
{
    dr_arena arena;
    dr_pass pass = { .device = s->device, .arena = &arena, .planning = planning };

    dr_arena_init(&arena, planning ? NULL : s->memory, planning ? SIZE_MAX : s->capacity);
    body(&pass, arg, rows);
    if (pass.error.status) {
        if (err)
            *err = pass.error;
        return pass.error.status;
    }
    dr_assert(arena.live == 0); /* what a pass takes it releases */
    *peak = arena.peak;
    return DR_OK;
}

dr_status dr_passes_plan(dr_passes *s, dr_pass_kind kind, int rows, dr_pass_body body, void *arg,
                         dr_error *err)
{
    size_t peak;
    dr_status rc;

    dr_assert(rows >= 1 && rows <= DR_PASS_ROWS_MAX);
    if (s->planned[kind][rows])
        return DR_OK;
    rc = play(s, true, rows, body, arg, &peak, err);
    if (rc)
        return rc;
    if (peak > s->needed)
        s->needed = peak;
    s->planned[kind][rows] = true;
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

dr_status dr_passes_play(dr_passes *s, dr_pass_kind kind, int rows, dr_pass_body body, void *arg,
                         dr_error *err)
{
    size_t peak;
    dr_status rc;

    rc = dr_passes_plan(s, kind, rows, body, arg, err);
    if (rc)
        return rc;
    rc = dr_passes_reserve(s, err);
    if (rc)
        return rc;
    return play(s, false, rows, body, arg, &peak, err);
}

void dr_passes_free(dr_passes *s)
{
    dr_device_free(s->device, s->memory);
}
