/* Lanes: a device may do several things at the same time, and its pictures have the same bits as when it does
 * one thing after the other.  Nobody waits longer than necessary.  A device that is lost while pictures are
 * under way is reported, and left clean.
 *
 * Run from the repository's root. */
#include "base/limits.h"
#include "ops/device.h"
#include "ops/lanes.h"
#include "tests/cuda/fake/runtime.h"
#include "tests/cuda/shim/run.h"

#include <darkroom/darkroom.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    WIDTH = 8,
    HEIGHT = 8,
    BYTES = WIDTH * HEIGHT * 3,
    REQUESTS = 8,
    CALLS_MAX = 5,
    SAMPLES_MAX = 2,
};

static dr_device *device;
static dr_model *model;
static uint8_t want[REQUESTS][CALLS_MAX + 1][BYTES]; /* after so many calls, drawn alone and in turn */

/* Twice as many prompts and timesteps as a run of SAMPLES_MAX keeps; noise, history, guidance or none. */
static dr_text_to_image request_of(int i)
{
    static const char *const prompts[REQUESTS] = { "a dog", "a red apple", "the sea", "",
                                                   "a cat", "an old book", "a car",   "the sun" };
    static const char *const negatives[REQUESTS] = { "grey", "", "blurred", "dark",
                                                     "text", "", "two",     "a frame" };
    static const dr_sampler samplers[4] = { DR_SAMPLER_EULER_A, DR_SAMPLER_DDIM, DR_SAMPLER_DPMPP_2M,
                                            DR_SAMPLER_EULER };

    return (dr_text_to_image){ .prompt = prompts[i],
                               .prompt_bytes = strlen(prompts[i]),
                               .negative_prompt = negatives[i],
                               .negative_prompt_bytes = strlen(negatives[i]),
                               .steps = 2 + i % 3,
                               .guidance_scale = i % 4 == 1 ? 1.0f : 7.5f,
                               .sampler = samplers[i % 4],
                               .seed = (uint64_t)i };
}

/* --- calls that do not fail ---------------------------------------------------------------- */

static void open_all(void)
{
    dr_error err;

    fake_cuda_reset();
    if (dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .unchecked = true }, &err) ||
        dr_model_open(&model, device, "tests/goldens/models/sd1", &err))
        fail_msg("%s", err.text);
}

static void close_all(void)
{
    dr_model_close(model);
    dr_device_close(device);
    if (fake_cuda.blocks || fake_cuda.pinned || fake_cuda.events || fake_cuda.streams || fake_cuda.graphs)
        fail_msg("left are %d blocks, %d pinned, %d events, %d streams, %d graphs", fake_cuda.blocks,
                 fake_cuda.pinned, fake_cuda.events, fake_cuda.streams, fake_cuda.graphs);
}

static dr_run *open_run(int samples_max)
{
    dr_run *run;
    dr_error err;

    if (dr_run_open(&run, model,
                    &(dr_run_options){ .width = WIDTH, .height = HEIGHT, .samples_max = samples_max }, &err))
        fail_msg("%s", err.text);
    return run;
}

static int add(dr_run *run, int request)
{
    const dr_text_to_image q = request_of(request);
    dr_error err;
    int sample;

    if (dr_run_add(run, &q, &sample, &err))
        fail_msg("%s", err.text);
    return sample;
}

static void step(dr_run *run)
{
    dr_error err;

    if (dr_run_step(run, &err))
        fail_msg("%s", err.text);
}

static int decode(dr_run *run, int sample)
{
    dr_error err;
    int picture;

    if (dr_run_begin_picture(run, sample, &picture, &err))
        fail_msg("%s", err.text);
    return picture;
}

/* --- pictures -------------------------------------------------------------------------------- */

static void draw_alone(int request)
{
    dr_run *run = open_run(1);
    const int sample = add(run, request);
    dr_progress at = dr_run_progress(run, sample);
    dr_error err;

    assert_true(at.calls <= CALLS_MAX);
    while (at.calls_done < at.calls) {
        step(run);
        at = dr_run_progress(run, sample);
        if (dr_run_picture(run, sample, want[request][at.calls_done], &err))
            fail_msg("%s", err.text);
    }
    dr_run_close(run);
}

static int open_first(void **state)
{
    (void)state;
    open_all();
    fake_cuda.in_turn = true;
    for (int i = 0; i < REQUESTS; i++)
        draw_alone(i);
    return 0;
}

static int close_last(void **state)
{
    (void)state;
    close_all();
    return 0;
}

/* A script in which samples join, step, are looked at and leave.  Its seed decides what happens in it. */
typedef struct play {
    dr_run *run;
    uint32_t random;
    uint64_t seed;
    struct {
        int request, sample; /* -1: none */
    } place[SAMPLES_MAX];
    struct {
        int picture, request, calls;
    } under_way[SAMPLES_MAX];
    int pictures; /* under way */
    int taken;
} play;

static uint32_t draw(play *p, uint32_t below)
{
    p->random = p->random * 1664525u + 1013904223u;
    return (p->random >> 8) % below;
}

static void take(play *p, int i)
{
    uint8_t rgb[BYTES];
    dr_error err;

    if (dr_run_end_picture(p->run, p->under_way[i].picture, rgb, &err))
        fail_msg("seed %d: %s", (int)p->seed, err.text);
    if (memcmp(rgb, want[p->under_way[i].request][p->under_way[i].calls], BYTES) != 0)
        fail_msg("seed %d: request %d came out different after %d calls", (int)p->seed,
                 p->under_way[i].request, p->under_way[i].calls);
    p->under_way[i] = p->under_way[--p->pictures];
    p->taken++;
}

static void begin_picture(play *p, int at)
{
    const int sample = p->place[at].sample;

    if (p->pictures == SAMPLES_MAX)
        take(p, (int)draw(p, SAMPLES_MAX));
    p->under_way[p->pictures].picture = decode(p->run, sample);
    p->under_way[p->pictures].request = p->place[at].request;
    p->under_way[p->pictures++].calls = dr_run_progress(p->run, sample).calls_done;
}

static void leave(play *p, int at)
{
    dr_run_drop(p->run, p->place[at].sample);
    p->place[at].sample = -1;
}

/* Between two steps. */
static void meddle(play *p)
{
    for (int at = 0; at < SAMPLES_MAX; at++) {
        if (p->place[at].sample >= 0) {
            const dr_progress now = dr_run_progress(p->run, p->place[at].sample);
            const bool done = now.calls_done == now.calls;

            if (done || (now.calls_done > 0 && draw(p, 4) == 0))
                begin_picture(p, at);
            if (done || draw(p, 8) == 0)
                leave(p, at);
        }
        if (p->place[at].sample < 0 && draw(p, 4)) {
            p->place[at].request = (int)draw(p, REQUESTS);
            p->place[at].sample = add(p->run, p->place[at].request);
        }
    }
    for (int i = p->pictures - 1; i >= 0; i--)
        if (dr_run_picture_ready(p->run, p->under_way[i].picture))
            take(p, i);
}

static void pictures_are_those_of_one_lane(void **state)
{
    enum { SEEDS = 4, PICTURES = 8 };
    (void)state;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play p = { .run = open_run(SAMPLES_MAX), .random = (uint32_t)seed, .seed = seed };

        for (int at = 0; at < SAMPLES_MAX; at++)
            p.place[at].sample = -1;
        fake_cuda_seed(seed);
        fake_cuda.in_turn = false;
        while (p.taken < PICTURES) {
            meddle(&p);
            step(p.run);
        }
        dr_run_close(p.run); /* the run is closed with whatever is still under way */
    }
}

/* --- waiting ------------------------------------------------------------------------------------ */

/* Once everything is planned and recorded, stepping, decoding and joining only put work on the lanes.  They
 * wait only so that they do not get too far ahead. */
static void nobody_waits_for_more_than_he_has_to(void **state)
{
    dr_run *run = open_run(SAMPLES_MAX);
    int sample, picture[2], blocks, kernels;
    uint8_t rgb[BYTES];
    dr_error err;
    (void)state;

    fake_cuda.in_turn = true; /* so that waiting for one piece of work does not also run others */
    for (int round = 0; round < 2; round++) {
        fake_cuda_wait();
        kernels = fake_cuda.kernels;
        blocks = fake_cuda.blocks;
        sample = add(run, 2); /* four calls */
        for (int call = 1; call <= DR_CALLS_AHEAD_MAX; call++)
            step(run);
        picture[0] = decode(run, sample);
        if (round == 1) {
            assert_int_equal(fake_cuda.kernels, kernels);
            assert_int_equal(fake_cuda.blocks, blocks);
        }
        step(run); /* one too many: this call waits for the first one */
        assert_true(fake_cuda.kernels > kernels);
        kernels = fake_cuda.kernels;
        picture[1] = decode(run, sample);
        dr_run_drop(run, sample);
        sample = add(run, 3);
        assert_int_equal(fake_cuda.kernels, kernels);
        assert_true(fake_cuda.waiting > 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(dr_run_end_picture(run, picture[i], rgb, &err), DR_OK);
            assert_memory_equal(rgb, want[2][i + 2], BYTES);
            assert_true(fake_cuda.waiting > 0);
        }
        dr_run_drop(run, sample);
    }
    dr_run_close(run);
}

/* --- idleness ------------------------------------------------------------------------------------ */

/* Idle time lasts from the end of all passes to the beginning of the next one, if nobody paused in
 * between. */
static void idleness_is_what_comes_between(void **state)
{
    dr_run *run = open_run(1);
    const int sample = add(run, 2); /* four calls */
    dr_device_load load;
    uint8_t rgb[BYTES];
    int picture;
    dr_error err;
    (void)state;

    fake_cuda.in_turn = true;
    step(run);
    step(run);
    fake_cuda_wait();
    dr_device_pause(device);
    load = dr_device_load_of(device);
    assert_true(load.seconds > 0);
    fake_cuda.clock_ms += 1000; /* a pause */
    step(run);                  /* which ends here */
    picture = decode(run, sample);
    assert_int_equal(dr_run_end_picture(run, picture, rgb, &err), DR_OK); /* one behind the other */
    fake_cuda_wait();
    assert_true(dr_device_load_of(device).idle_s == load.idle_s);
    fake_cuda.clock_ms += 5;
    step(run);
    picture = decode(run, sample); /* which is behind it */
    fake_cuda_wait();
    assert_true(fabs(dr_device_load_of(device).idle_s - load.idle_s - 5e-3) < 1e-6);
    fake_cuda.clock_ms += 7;
    dr_device_pause(device); /* after the last pass nobody wanted anything, so this is not idle time */
    fake_cuda.clock_ms += 100;
    assert_int_equal(dr_run_end_picture(run, picture, rgb, &err), DR_OK);
    assert_true(fabs(dr_device_load_of(device).idle_s - load.idle_s - 5e-3) < 1e-6);
    assert_true(dr_device_load_of(device).seconds > load.seconds);
    dr_run_drop(run, sample);
    dr_run_close(run);
}

/* --- losing the device ----------------------------------------------------------------------------- */

/* Loses the device at the nth call after two pictures were begun.  Returns DR_OK, or the status that was
 * reported. */
static dr_status lose(int nth, dr_error *err)
{
    dr_run *run = open_run(SAMPLES_MAX);
    uint8_t rgb[BYTES];
    int picture[2];
    dr_status rc = DR_OK, taken;

    for (int i = 0; i < 2; i++) {
        const int sample = add(run, i);

        step(run);
        step(run);
        picture[i] = decode(run, sample);
        dr_run_drop(run, sample);
    }
    add(run, 2);
    fake_cuda.fail_call = fake_cuda.calls + nth;
    fake_cuda.error = cudaErrorIllegalAddress;
    fake_cuda.sticky = true;
    rc = dr_run_step(run, err);
    for (int i = 0; i < 2; i++) {
        dr_run_picture_ready(run, picture[i]); /* nobody may wait for this picture for ever */
        taken = dr_run_end_picture(run, picture[i], rgb, rc ? NULL : err);
        assert_true(!rc || taken); /* lost is lost */
        rc = rc ? rc : taken;
    }
    dr_run_close(run);
    return rc;
}

static void a_device_lost_with_pictures_under_way_is_told(void **state)
{
    int told = 0;
    dr_status rc = DR_EDEVICE;
    (void)state;

    close_all();
    for (int nth = 1; rc; nth += 41) { /* a prime: each kind of call has its turn */
        dr_error err;

        open_all();
        rc = lose(nth, &err);
        if (rc) {
            assert_int_equal(rc, DR_EDEVICE);
            assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
            told++;
        }
        close_all();
    }
    assert_true(told >= 3);
    open_all();
}

/* --- a lane, a mark, a landing ---------------------------------------------------------------------- */

static void lanes_wait_and_marks_are_reached(void **state)
{
    static const int first = 1, second = 2;
    dr_landing *landing;
    const void *landed;
    void *memory;
    dr_mark *mark, *end;
    bool reached;
    double seconds;
    dr_error err;
    (void)state;

    assert_true(dr_device_has_lanes(device));
    assert_int_equal(dr_device_alloc(&memory, device, sizeof(int), &err), DR_OK);
    assert_int_equal(dr_landing_create(&landing, device, sizeof(int), &err), DR_OK);
    assert_int_equal(dr_mark_create(&mark, device, &err), DR_OK);
    assert_int_equal(dr_mark_create(&end, device, &err), DR_OK);
    assert_int_equal(dr_mark_reached(mark, &reached, &err), DR_OK);
    assert_true(reached); /* it was never set */
    assert_int_equal(dr_mark_wait(mark, &err), DR_OK);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fake_cuda_seed(seed);
        fake_cuda.in_turn = false;
        assert_int_equal(dr_lane_upload(device, DR_LANE_TEXT, memory, &first, sizeof(int), &err), DR_OK);
        assert_int_equal(dr_mark_set(mark, DR_LANE_TEXT, &err), DR_OK);
        assert_int_equal(dr_lane_wait(device, DR_LANE_DENOISE, DR_LANE_TEXT, &err), DR_OK);
        assert_int_equal(dr_device_upload(device, memory, &second, sizeof(int), &err), DR_OK);
        assert_int_equal(dr_lane_wait(device, DR_LANE_DECODE, DR_LANE_DENOISE, &err), DR_OK);
        assert_int_equal(dr_landing_begin(landing, DR_LANE_DECODE, memory, &err), DR_OK);
        assert_int_equal(dr_mark_set(end, DR_LANE_DECODE, &err), DR_OK);
        while (!dr_landing_ready(landing))
            ;
        assert_int_equal(dr_landing_wait(landing, &landed, &err), DR_OK);
        assert_int_equal(*(const int *)landed, 2);
        assert_int_equal(dr_mark_reached(mark, &reached, &err), DR_OK);
        assert_true(reached);
        assert_int_equal(dr_mark_wait(end, &err), DR_OK);
        assert_int_equal(dr_mark_seconds(mark, end, &seconds, &err), DR_OK);
        assert_true(seconds >= 0);
        assert_int_equal(dr_lanes_meet(device, &err), DR_OK);
    }
    dr_mark_free(end);
    dr_mark_free(mark);
    dr_landing_free(landing);
    dr_device_free(device, memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_wait_and_marks_are_reached),
        cmocka_unit_test(pictures_are_those_of_one_lane),
        cmocka_unit_test(nobody_waits_for_more_than_he_has_to),
        cmocka_unit_test(idleness_is_what_comes_between),
        cmocka_unit_test(a_device_lost_with_pictures_under_way_is_told),
    };
    return cmocka_run_group_tests_name("lanes", tests, open_first, close_last);
}
