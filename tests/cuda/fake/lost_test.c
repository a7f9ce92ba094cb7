/* Tests a device that is lost while it draws, at any call of the CUDA runtime, at a kernel's launch or at a
 * product.  Opening, adding, stepping or finishing reports the loss.  Nothing crashes, and everything is
 * closed without a leak. */
#include "tests/cuda/fake/runtime.h"
#include "tests/cuda/shim/run.h"

#include <darkroom/darkroom.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 8, HEIGHT = 8 };

static const dr_text_to_image request = { .prompt = "a dog",
                                          .prompt_bytes = 5,
                                          .steps = 2,
                                          .guidance_scale = 7.5f,
                                          .sampler = DR_SAMPLER_EULER,
                                          .seed = 1 };

/* Opens a model and a run, and draws a picture.  Returns the first status that is not DR_OK.  *steps gets the
 * number of steps that went well. */
static dr_status draw(dr_device *device, int *steps, dr_error *err)
{
    const dr_run_options options = { .width = WIDTH, .height = HEIGHT, .samples_max = 1 };
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    dr_model *model = NULL;
    dr_run *run = NULL;
    int sample;
    dr_status rc = dr_model_open(&model, device, "tests/goldens/models/sd1", err);

    *steps = 0;
    if (!rc)
        rc = dr_run_open(&run, model, &options, err);
    if (!rc)
        rc = dr_run_add(run, &request, &sample, err);
    for (int i = 0; i < request.steps && !rc; i++) {
        rc = dr_run_step(run, err);
        *steps += !rc;
    }
    if (!rc)
        rc = dr_run_picture_and_drop(run, sample, rgb, err);
    dr_run_close(run);
    dr_model_close(model);
    return rc;
}

static void assert_clean(int call)
{
    if (fake_cuda.blocks || fake_cuda.pinned || fake_cuda.events || fake_cuda.streams || fake_cuda.handles ||
        fake_cuda.graphs)
        fail_msg("call %d: left are %d blocks, %d pinned, %d events, %d streams, %d handles, %d graphs", call,
                 fake_cuda.blocks, fake_cuda.pinned, fake_cuda.events, fake_cuda.streams, fake_cuda.handles,
                 fake_cuda.graphs);
}

/* The folder in which plans are kept from the first picture on.  plans_test.c tests that kernels are
 * measured. */
static char folder[] = "/tmp/darkroom-lost-XXXXXX";

static dr_device *open_device(void)
{
    dr_device *device;
    dr_error err;

    fake_cuda_reset();
    if (dr_device_open(&device,
                       &(dr_device_options){ .name = "cuda:0", .plan_cache = folder, .unchecked = true },
                       &err))
        fail_msg("%s", err.text);
    return device;
}

/* There are thousands of calls.  From `first` on, those that fail are a prime number of calls apart, so that
 * each kind of call is among them.  A call may fail so late that only closing follows: then nobody could be
 * told. */
static void a_lost_device_is_told_wherever_it_happens(void **state)
{
    enum { APART = 97 };
    dr_device *device = open_device();
    const int first = fake_cuda.calls + 1;
    int last, steps, told = 0, recordings = 0;
    dr_error err;
    (void)state;

    if (draw(device, &steps, &err))
        fail_msg("%s", err.text);
    last = fake_cuda.calls;
    dr_device_close(device);
    assert_clean(0);
    for (int call = first; call < last; call += APART) {
        device = open_device();
        fake_cuda.fail_call = call;
        fake_cuda.error = cudaErrorIllegalAddress;
        fake_cuda.sticky = true;
        const dr_status rc = draw(device, &steps, &err);
        if (rc) {
            assert_int_equal(rc, DR_EDEVICE);
            assert_true(err.retriable);
            assert_non_null(strstr(err.text, "cuda:0 is lost: "));
            told++;
            recordings += strstr(err.text, "recording") != NULL || steps > 0;
        }
        dr_device_close(device);
        assert_clean(call);
    }
    assert_true(told > 20 && recordings > 0);
}

/* Opening a run does hardly more than allocate.  Whichever of its calls fails, the status tells a full
 * device, which still works, from a lost one. */
static void a_run_that_is_not_to_be_had_says_why(void **state)
{
    static const struct {
        cudaError_t error;
        bool sticky;
        dr_status status;
    } kinds[] = { { cudaErrorMemoryAllocation, false, DR_ENOMEM },
                  { cudaErrorIllegalAddress, true, DR_EDEVICE } };
    const dr_run_options options = { .width = WIDTH, .height = HEIGHT, .samples_max = 1 };
    int told[2] = { 0 };
    (void)state;

    for (int kind = 0; kind < 2; kind++) {
        dr_device *device = open_device();
        dr_model *model;
        dr_run *run;
        dr_error err;
        dr_status rc = DR_ENOMEM;

        for (int nth = 1; rc; nth++) {
            if (nth == 1 || kinds[kind].sticky)
                assert_int_equal(dr_model_open(&model, device, "tests/goldens/models/sd1", &err), DR_OK);
            fake_cuda.fail_call = fake_cuda.calls + nth;
            fake_cuda.error = kinds[kind].error;
            fake_cuda.sticky = kinds[kind].sticky;
            rc = dr_run_open(&run, model, &options, &err);
            if (rc) {
                assert_int_equal(rc, kinds[kind].status);
                assert_int_equal(err.status, rc);
                told[kind]++;
            }
            fake_cuda.fail_call = 0;
            dr_run_close(run);
            if (!rc || kinds[kind].sticky)
                dr_model_close(model);
            if (rc && kinds[kind].sticky) {
                dr_device_close(device);
                device = open_device();
            }
        }
        dr_device_close(device);
        assert_clean(kind);
    }
    assert_true(
        told[0] >=
        8); /* four of samples, inputs, prompts and their ids, the time table and its timesteps, scratch */
    assert_true(told[1] >= told[0]);
}

static int draw_first(void **state)
{
    dr_device *device;
    int steps;
    dr_error err;
    dr_status rc;
    (void)state;

    if (!mkdtemp(folder))
        return 1;
    device = open_device();
    rc = draw(device, &steps, &err);
    dr_device_close(device);
    return rc != DR_OK;
}

static int leave(void **state)
{
    char file[128];
    (void)state;

    snprintf(file, sizeof(file), "%s/NVIDIA_Pretend-sm90-driver13000-runtime13000-cublaslt130100.plans",
             folder);
    return unlink(file) || rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_is_not_to_be_had_says_why),
        cmocka_unit_test(a_lost_device_is_told_wherever_it_happens),
    };
    return cmocka_run_group_tests_name("a device lost while it draws", tests, draw_first, leave);
}
