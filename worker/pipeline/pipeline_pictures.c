/* pipeline_pictures.c - the pictures of a batch, decoded while the next one runs.
 *
 *     batch A    step step step | begin pictures
 *     batch B                   | step   step            step ... step | begin pictures
 *                                      ^ those of A that are there ... ^ the rest of them
 *
 * So the device never waits for a copy, an encoder or a job's end; and at most two batches' pictures are held. */
#include "worker/pipeline/pipeline_work.h"

#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

dr_status dr_pipeline_begin_picture(dr_pipeline *p, dr_work *work, int image, int sample, dr_error *err)
{
    dr_under_way *u = &p->under_way[p->pictures_under_way];
    const int64_t now = dr_clock_ns();
    dr_status rc;

    dr_assert(p->pictures_under_way < 2 * DR_SAMPLES_MAX);
    *u = (dr_under_way){ .work = work, .image = image };
    rc = dr_engine_finish(p->engine, sample, &u->picture, err);
    if (rc)
        return rc;
    p->pictures_under_way++;
    if (work->under_way++ == 0)
        work->decode_since_ns = now;
    return DR_OK;
}

/* Into memory of the work; of one that has failed it is only let go. */
static void take_oldest(dr_pipeline *p)
{
    const dr_under_way u = p->under_way[0];
    dr_work *work = u.work;
    const dr_job *job = work->result->job;
    uint8_t *rgb = work->failed ? NULL : malloc((size_t)job->width * (size_t)job->height * 3);
    dr_error err;
    dr_status rc;

    memmove(p->under_way, p->under_way + 1, (size_t)--p->pictures_under_way * sizeof(u));
    work->rgb[u.image] = rgb;
    rc = dr_engine_take(p->engine, u.picture, rgb, &err);
    if (rc)
        dr_pipeline_note_loss(p, &err);
    else if (!rgb)
        rc = dr_fail(&err, DR_ENOMEM, "no memory for its pixels");
    if (rc && !work->failed)
        dr_work_fail(work, &err, NULL);
    if (--work->under_way == 0)
        work->result->decode_ns += dr_clock_ns() - work->decode_since_ns;
    if (work->ended && work->under_way == 0)
        dr_pipeline_hand_over(p, work);
}

void dr_pipeline_take_pictures(dr_pipeline *p, bool all)
{
    while (p->pictures_under_way > 0) {
        const dr_under_way *u = &p->under_way[0];
        const bool completes = u->work->ended && u->work->under_way == 1;

        if (!all && (!dr_engine_ready(p->engine, u->picture) || (completes && !dr_pipeline_has_room(p))))
            break;
        take_oldest(p);
    }
}
