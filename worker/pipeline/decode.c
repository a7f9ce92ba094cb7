#include "worker/pipeline/decode.h"

#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

/* Each picture under way is counted in its work.  The pictures of one work stand beside each other. */
static void check(const dr_decoder *d)
{
    int counted = 0;

    for (int i = 0; i < d->count; i += counted) {
        const dr_work *work = d->under_way[i].work;

        counted = work->pictures_under_way;
        dr_assert(work->stage == DR_RUNNING && counted > 0 && i + counted <= d->count);
        dr_assert(d->under_way[i + counted - 1].work == work);
    }
}

dr_status dr_decoder_begin(dr_decoder *d, dr_work *work, int image, int sample, dr_error *err)
{
    const int64_t now_ns = dr_clock_ns();
    int picture;
    dr_status rc;

    dr_assert(d->count < DR_DECODES_MAX);
    dr_assert(!work->failed && !work->batch_ended && image < work->result->job->images && !work->rgb[image]);
    rc = dr_engine_begin_picture(d->engine, sample, &picture, err);
    if (rc)
        return rc;
    d->under_way[d->count].work = work;
    d->under_way[d->count].image = image;
    d->under_way[d->count++].picture = picture;
    if (work->pictures_under_way++ == 0)
        work->decode_since_ns = now_ns;
    return DR_OK;
}

/* Takes the oldest picture into memory of its work.  If the work has failed, the picture is thrown away. */
static void take_oldest(dr_decoder *d)
{
    dr_work *work = d->under_way[0].work;
    const int image = d->under_way[0].image, picture = d->under_way[0].picture;
    const dr_job *job = work->result->job;
    uint8_t *rgb = work->failed ? NULL : malloc((size_t)job->width * (size_t)job->height * 3);
    dr_error err;
    dr_status rc;

    dr_assert(d->count > 0 && work->pictures_under_way > 0 && !work->rgb[image]);
    memmove(d->under_way, d->under_way + 1, (size_t)--d->count * sizeof(d->under_way[0]));
    work->rgb[image] = rgb;
    rc = dr_engine_end_picture(d->engine, picture, rgb, &err);
    if (rc)
        dr_works_note_loss(d->works, &err);
    else if (!rgb)
        rc = dr_fail(&err, DR_ENOMEM, "no memory for its pixels");
    if (rc && !work->failed)
        dr_work_fail(work, &err, NULL);
    if (--work->pictures_under_way == 0)
        work->result->decode_ns += dr_clock_ns() - work->decode_since_ns;
    if (work->batch_ended && work->pictures_under_way == 0)
        dr_works_end_run(d->works, work);
}

/* Whether the oldest picture can be taken without waiting for the device or for room. */
static bool is_oldest_ready(dr_decoder *d)
{
    const dr_work *work = d->under_way[0].work;
    const bool completes = work->batch_ended && work->pictures_under_way == 1;

    return dr_engine_picture_ready(d->engine, d->under_way[0].picture) &&
           (!completes || dr_works_have_room_for_pixels(d->works));
}

void dr_decoder_take_ready(dr_decoder *d)
{
    while (d->count > 0 && is_oldest_ready(d))
        take_oldest(d);
}

void dr_decoder_take_all(dr_decoder *d)
{
    while (d->count > 0)
        take_oldest(d);
}

void dr_decoder_end_batch(dr_decoder *d, dr_work *work)
{
    dr_assert(!work->batch_ended);
    check(d);
    work->batch_ended = true;
    if (work->pictures_under_way == 0)
        dr_works_end_run(d->works, work);
}
