/* Stable Diffusion 1.5 and 2.1 in their full width: random weights in the published shapes are loaded, and
 * a picture is drawn in one step.
 *
 * This shows what the tiny models of other tests can't: sizes that overflow, layers that no tiny model has
 * (heads of 160 channels, 10240 of GEGLU, 23 layers of 1024), and memory.  A picture of 64x64 runs every
 * layer and is cheap.  Run from the repository's root; needs 8 GiB of free memory. */

#include "model/model.h"

#include <darkroom/darkroom.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 64, PICTURE = SIDE * SIDE * 3 };

static dr_run *open_run(dr_model *model)
{
    dr_run *run;
    dr_error err;

    if (dr_run_open(&run, model, &(dr_run_options){ .width = SIDE, .height = SIDE, .samples_max = 1 }, &err))
        fail_msg("%s", err.text);
    return run;
}

static void draw(dr_run *run, float guidance_scale, uint8_t *rgb)
{
    dr_error err;
    int sample;

    if (dr_run_add(run,
                   &(dr_text_to_image){ .prompt = "a red apple",
                                        .prompt_bytes = 11,
                                        .steps = 1,
                                        .guidance_scale = guidance_scale,
                                        .sampler = DR_SAMPLER_DDIM,
                                        .seed = 1 },
                   &sample, &err) ||
        dr_run_step(run, &err) || dr_run_picture_and_drop(run, sample, rgb, &err))
        fail_msg("%s", err.text);
}

static int distinct_values(const uint8_t *rgb)
{
    bool seen[256] = { false };
    int count = 0;

    for (int i = 0; i < PICTURE; i++) {
        count += !seen[rgb[i]];
        seen[rgb[i]] = true;
    }
    return count;
}

/* `parameters`: of text encoder, UNet and VAE together, as published. */
static void draw_with(const char *folder, int default_side, size_t parameters)
{
    static uint8_t guided[PICTURE], unguided[PICTURE], again[PICTURE];
    const dr_model_info *info;
    dr_device *device;
    dr_model *model;
    dr_run *run;
    dr_error err;

    if (dr_device_open(&device, &(dr_device_options){ .name = "cpu" }, &err))
        fail_msg("%s", err.text);
    if (dr_model_open_random(&model, device, folder, 1, &err))
        fail_msg("%s", err.text);
    info = dr_model_info_of(model);
    assert_int_equal(info->task, DR_TASK_TEXT_TO_IMAGE);
    assert_int_equal(info->default_width, default_side);
    assert_int_equal(info->default_height, default_side);
    assert_int_equal(info->side_multiple, 8);
    /* Float32, and what the project allows for transformed convolutions. */
    assert_in_range(info->weight_bytes, 4 * parameters, 4 * parameters + ((size_t)2 << 30));
    run = open_run(model);
    draw(run, 7.5f, guided);
    draw(run, 1.0f, unguided);
    draw(run, 7.5f, again);
    /* NaN or infinity anywhere on the way would be one even colour. */
    assert_true(distinct_values(guided) > 16 && distinct_values(unguided) > 16);
    assert_memory_not_equal(guided, unguided, PICTURE);
    assert_memory_equal(guided, again, PICTURE);
    dr_run_close(run);
    dr_model_close(model);
    dr_device_close(device);
}

static void stable_diffusion_1_5(void **state)
{
    (void)state;
    draw_with("bench/shapes/sd15", 512, 859520964 + 123060480 + 83653863);
}

static void stable_diffusion_2_1(void **state)
{
    (void)state;
    draw_with("bench/shapes/sd21", 768, 865910724 + 340387840 + 83653863);
}

/* In GiB, as the kernel estimates it. */
static double available_memory(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    double kib = 0;

    while (f && fgets(line, sizeof(line), f) && sscanf(line, "MemAvailable: %lf", &kib) != 1)
        ;
    if (f)
        fclose(f);
    return kib / (1 << 20);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* which makes gigabytes several times as many */
#else
enum { SANITIZED = 0 };
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stable_diffusion_1_5),
        cmocka_unit_test(stable_diffusion_2_1),
    };
    if (SANITIZED || available_memory() < 8) {
        printf("5 GiB of weights: %s\n",
               SANITIZED ? "too many under a sanitizer" : "less than 8 GiB are free");
        return 77; /* tests/run.sh: skipped */
    }
    return cmocka_run_group_tests_name("shapes", tests, NULL, NULL);
}
