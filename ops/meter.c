#include "ops/meter.h"

#include "ops/clock.h"

#include <stdlib.h>

struct dr_meter {
    dr_mark *last[DR_LANES]; /* behind a lane's last pass */
    bool passed[DR_LANES];   /* the lane had a pass since the last pause */
    bool gap;                /* there is an idle time to read, from `from` to `to`, when `to` is reached */
    dr_mark *from, *to;      /* without a gap `from` is a spare mark */
    bool loaded;             /* between the first pass and the pause */
    double since_s;          /* by the host's clock, while loaded */
    dr_device_load load;
};

dr_status dr_meter_create(dr_meter **out, dr_device *device, dr_error *err)
{
    dr_meter *m = calloc(1, sizeof(*m));
    dr_status rc;

    *out = NULL;
    if (!m)
        return dr_fail(err, DR_ENOMEM, "no memory for a meter");
    rc = dr_mark_create(&m->from, device, err);
    if (!rc)
        rc = dr_mark_create(&m->to, device, err);
    for (int lane = 0; lane < DR_LANES && !rc; lane++)
        rc = dr_mark_create(&m->last[lane], device, err);
    if (rc) {
        dr_meter_free(m);
        return rc;
    }
    *out = m;
    return DR_OK;
}

void dr_meter_free(dr_meter *m)
{
    if (!m)
        return;
    for (int lane = 0; lane < DR_LANES; lane++)
        dr_mark_free(m->last[lane]);
    dr_mark_free(m->from);
    dr_mark_free(m->to);
    free(m);
}

static bool is_reached(dr_mark *mark)
{
    bool reached;

    return dr_mark_reached(mark, &reached, NULL) == DR_OK && reached;
}

static void read_gap(dr_meter *m)
{
    double seconds;

    if (!m->gap || !is_reached(m->to))
        return;
    if (dr_mark_seconds(m->from, m->to, &seconds, NULL) == DR_OK && seconds > 0)
        m->load.idle_s += seconds;
    m->gap = false;
}

/* The lane whose last pass ended last; -1: a pass has not ended yet, or there was none. */
static int lane_that_ended_last(dr_meter *m)
{
    double seconds;
    int latest = -1;

    for (int lane = 0; lane < DR_LANES; lane++) {
        if (!m->passed[lane])
            continue;
        if (!is_reached(m->last[lane]))
            return -1;
        if (latest < 0 ||
            (dr_mark_seconds(m->last[latest], m->last[lane], &seconds, NULL) == DR_OK && seconds > 0))
            latest = lane;
    }
    return latest;
}

void dr_meter_begin(dr_meter *m, dr_lane lane)
{
    int latest;

    if (!m)
        return;
    if (!m->loaded)
        m->since_s = dr_host_clock_s();
    m->loaded = true;
    read_gap(m);
    /* As long as the pass that ends a gap has not begun, no other gap can begin. */
    latest = m->gap ? -1 : lane_that_ended_last(m);
    if (latest < 0 || dr_mark_set(m->to, lane, NULL))
        return;
    dr_mark *const spare = m->from;
    m->from = m->last[latest];
    m->last[latest] = spare;
    m->passed[latest] = false;
    m->gap = true;
}

void dr_meter_end(dr_meter *m, dr_lane lane)
{
    if (m)
        m->passed[lane] = dr_mark_set(m->last[lane], lane, NULL) == DR_OK;
}

void dr_meter_pause(dr_meter *m)
{
    if (!m)
        return;
    read_gap(m);
    if (m->loaded)
        m->load.seconds += dr_host_clock_s() - m->since_s;
    m->loaded = false;
    for (int lane = 0; lane < DR_LANES; lane++)
        m->passed[lane] = false;
}

dr_device_load dr_meter_read(dr_meter *m)
{
    dr_device_load load = { 0.0, 0.0 };

    if (!m)
        return load;
    read_gap(m);
    load = m->load;
    if (m->loaded)
        load.seconds += dr_host_clock_s() - m->since_s;
    return load;
}
