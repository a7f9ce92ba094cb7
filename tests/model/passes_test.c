/* Passes are planned before they are played, and recorded if the device can record. */
#include "model/passes.h"

#include "ops/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a device that counts -------------------------------------------------------------------- */

typedef struct test_device {
    dr_device base;
    bool recording;
    int recordings, replays; /* recordings that are there; replays so far */
    bool fail_end;
    bool gone; /* no memory can be had */
} test_device;

static test_device *device_of(dr_device *device)
{
    return (test_device *)device;
}

static dr_status take_memory(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    assert_false(device_of(device)->recording);
    if (device_of(device)->gone)
        return dr_fail(err, DR_EDEVICE, "no device, no memory");
    *out = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return DR_OK;
}

static void give_memory(dr_device *device, void *memory)
{
    (void)device;
    free(memory);
}

static dr_status begin(dr_device *device, dr_error *err)
{
    (void)err;
    assert_false(device_of(device)->recording);
    device_of(device)->recording = true;
    return DR_OK;
}

static dr_status end(dr_recording **out, dr_device *device, dr_error *err)
{
    test_device *d = device_of(device);

    assert_true(d->recording);
    d->recording = false;
    if (d->fail_end)
        return dr_fail(err, DR_EDEVICE, "no recording");
    *out = calloc(1, sizeof(**out));
    (*out)->device = device;
    d->recordings++;
    return DR_OK;
}

static dr_status replay(dr_recording *recording, dr_error *err)
{
    (void)err;
    device_of(recording->device)->replays++;
    return DR_OK;
}

static void drop(dr_recording *recording)
{
    device_of(recording->device)->recordings--;
    free(recording);
}

static const dr_backend plain = { .name = "plain", .alloc = take_memory, .free = give_memory };
static const dr_backend recorder = { .name = "recorder",
                                     .alloc = take_memory,
                                     .free = give_memory,
                                     .recording_begin = begin,
                                     .recording_end = end,
                                     .recording_play = replay,
                                     .recording_free = drop };

/* --- a pass that takes some memory -------------------------------------------------------------- */

typedef struct body_log {
    int planned, played;
    bool fail;
} body_log;

static void body(dr_pass *p, void *arg, dr_pass_size size)
{
    body_log *log = arg;
    dr_tensor t = dr_take(p, size.rows, 1, 1, 16);

    *(p->planning ? &log->planned : &log->played) += 1;
    if (!p->planning && log->fail)
        dr_fail(&p->error, DR_EDEVICE, "as asked");
    dr_release(p, &t);
}

static dr_status play(dr_passes *s, dr_pass_kind kind, int rows, int samples, body_log *log)
{
    return dr_passes_play(s, kind, (dr_pass_size){ .rows = rows, .samples = samples }, body, log, NULL);
}

/* --- tests --------------------------------------------------------------------------------------- */

static void without_recording_every_call_is_played(void **state)
{
    test_device d = { .base = { .backend = &plain } };
    dr_passes s = { .device = &d.base };
    body_log log = { 0 };

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(log.planned, 1);
    assert_int_equal(log.played, 3);
    dr_passes_free(&s);
}

static void the_unet_is_recorded_when_a_size_comes_again_and_then_replayed(void **state)
{
    test_device d = { .base = { .backend = &recorder } };
    dr_passes s = { .device = &d.base };
    body_log log = { 0 };

    (void)state;
    assert_int_equal(play(&s, DR_PASS_UNET, 4, 2, &log), DR_OK); /* the largest first: the memory stays */
    for (int samples = 1; samples <= 2; samples++)
        assert_int_equal(play(&s, DR_PASS_UNET, 2, samples, &log), DR_OK);
    assert_int_equal(log.played, 3);
    assert_int_equal(d.recordings, 0);
    for (int i = 0; i < 3; i++)
        for (int samples = 1; samples <= 2; samples++)
            assert_int_equal(play(&s, DR_PASS_UNET, 2, samples, &log), DR_OK);
    assert_int_equal(log.played, 3 + 2);
    assert_int_equal(d.recordings, 2);
    assert_int_equal(d.replays, 6);

    for (int i = 0; i < 2; i++)
        assert_int_equal(play(&s, DR_PASS_DECODE, 2, 0, &log), DR_OK); /* its arguments change */
    assert_int_equal(log.played, 3 + 2 + 2);
    assert_int_equal(d.replays, 6);
    dr_passes_free(&s);
    assert_int_equal(d.recordings, 0);
}

/* A recording has addresses in it, so it is dropped when the arena moves. */
static void recordings_do_not_outlive_their_memory(void **state)
{
    test_device d = { .base = { .backend = &recorder } };
    dr_passes s = { .device = &d.base };
    body_log log = { 0 };

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(d.recordings, 1);
    assert_int_equal(play(&s, DR_PASS_UNET, 16, 8, &log), DR_OK); /* needs more: the arena moves */
    assert_int_equal(d.recordings, 0);
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(log.played, 2 + 1 + 1);
    assert_int_equal(d.recordings, 1);
    dr_passes_free(&s);
}

static void more_sizes_than_are_kept_are_played(void **state)
{
    test_device d = { .base = { .backend = &recorder } };
    dr_passes s = { .device = &d.base };
    body_log log = { 0 };

    (void)state;
    assert_int_equal(play(&s, DR_PASS_UNET, DR_RECORDINGS_MAX + 5, 1, &log), DR_OK);
    for (int i = 0; i < 3; i++)
        for (int rows = 1; rows <= DR_RECORDINGS_MAX + 4; rows++)
            assert_int_equal(play(&s, DR_PASS_UNET, rows, 1, &log), DR_OK);
    assert_int_equal(d.recordings, DR_RECORDINGS_MAX);
    assert_int_equal(log.played, 1 + 2 * DR_RECORDINGS_MAX + 3 * 4);
    dr_passes_free(&s);
    assert_int_equal(d.recordings, 0);
}

/* The arena is as large as the largest pass needs, whatever is planned after it or played last. */
static void the_largest_pass_has_its_memory(void **state)
{
    test_device d = { .base = { .backend = &plain } };
    dr_passes s = { .device = &d.base };
    body_log log = { 0 };
    size_t largest;

    (void)state;
    assert_int_equal(dr_passes_plan(&s, DR_PASS_UNET, (dr_pass_size){ 16, 8 }, body, &log, NULL), DR_OK);
    largest = dr_passes_bytes(&s);
    assert_int_equal(dr_passes_plan(&s, DR_PASS_UNET, (dr_pass_size){ 2, 1 }, body, &log, NULL), DR_OK);
    assert_int_equal(log.planned, 2);
    assert_int_equal(dr_passes_bytes(&s), largest);
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(play(&s, DR_PASS_UNET, 16, 8, &log), DR_OK);
    dr_passes_free(&s);
}

static void what_failed_is_not_kept(void **state)
{
    test_device d = { .base = { .backend = &recorder } };
    dr_passes s = { .device = &d.base };
    body_log log = { .fail = true };

    (void)state;
    d.gone = true;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_EDEVICE); /* and not DR_ENOMEM */
    d.gone = false;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log),
                     DR_EDEVICE); /* which is not to have played it once */
    log.fail = false;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(d.replays, 0);
    log.fail = true;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_EDEVICE);
    assert_false(d.recording);
    assert_int_equal(d.recordings, 0);
    log.fail = false;
    d.fail_end = true;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_EDEVICE);
    assert_int_equal(d.replays, 0);
    d.fail_end = false;
    assert_int_equal(play(&s, DR_PASS_UNET, 2, 1, &log), DR_OK);
    assert_int_equal(d.replays, 1);
    dr_passes_free(&s);
    assert_int_equal(d.recordings, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_recording_every_call_is_played),
        cmocka_unit_test(the_unet_is_recorded_when_a_size_comes_again_and_then_replayed),
        cmocka_unit_test(recordings_do_not_outlive_their_memory),
        cmocka_unit_test(more_sizes_than_are_kept_are_played),
        cmocka_unit_test(the_largest_pass_has_its_memory),
        cmocka_unit_test(what_failed_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
