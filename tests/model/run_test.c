/* Whole pictures: against the reference's, and against the same pictures drawn beside others.
 *
 * Run from the repository's root. */
#include "model/decodes.h"
#include "ops/arena.h"
#include "ops/backend.h"
#include "tests/support/machines.h"

#include <darkroom/darkroom.h>

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE_MAX = 256, BATCH = 4 };

static dr_device *device; /* on which machine this is: tests/support/machines.h */
static int threads;

static dr_model *open_model(const char *name)
{
    char folder[256];
    dr_model *model;
    dr_error err;

    snprintf(folder, sizeof(folder), "tests/goldens/models/%s", name);
    if (dr_model_open(&model, device, folder, &err))
        fail_msg("%s", err.text);
    return model;
}

static dr_run *open_run(dr_model *model, int width, int height, int samples_max)
{
    dr_run *run;
    dr_error err;

    if (dr_run_open(&run, model,
                    &(dr_run_options){ .width = width, .height = height, .samples_max = samples_max }, &err))
        fail_msg("%s", err.text);
    return run;
}

static int add(dr_run *run, const dr_text_to_image *request)
{
    dr_error err;
    int sample;

    if (dr_run_add(run, request, &sample, &err))
        fail_msg("%s", err.text);
    return sample;
}

static void step(dr_run *run)
{
    dr_error err;

    if (dr_run_step(run, &err))
        fail_msg("%s", err.text);
}

static bool done(const dr_run *run, int sample)
{
    const dr_progress at = dr_run_progress(run, sample);

    return at.calls_done == at.calls;
}

static void finish(dr_run *run, int sample, uint8_t *rgb)
{
    dr_error err;

    if (dr_run_picture_and_drop(run, sample, rgb, &err))
        fail_msg("%s", err.text);
}

/* --- a picture does not depend on its company ------------------------------------------ */

enum { REQUESTS = 12, WIDTH = 72, HEIGHT = 56, PICTURE = WIDTH * HEIGHT * 3 };

/* A mixture of samplers, step counts, guidance or none, shared and different prompts. */
static dr_text_to_image request_of(int i)
{
    static const char *const prompts[] = { "a small red apple", "a dog on a blue background", "" };
    const char *prompt = prompts[i % 3];

    return (dr_text_to_image){ .prompt = prompt,
                               .prompt_bytes = strlen(prompt),
                               .negative_prompt = i % 4 ? "" : "grey",
                               .negative_prompt_bytes = i % 4 ? 0 : 4,
                               .steps = 3 + i % 5,
                               .guidance_scale = i % 3 == 1 ? 1.0f : 5.0f + (float)i,
                               .sampler = (dr_sampler)(1 + i % (DR_SAMPLERS - 1)),
                               .seed = (uint64_t)i * 1000003u };
}

static void draw_alone(dr_model *model, int i, uint8_t *rgb)
{
    dr_run *run = open_run(model, WIDTH, HEIGHT, 1);
    const dr_text_to_image request = request_of(i);
    const int sample = add(run, &request);

    while (!done(run, sample))
        step(run);
    finish(run, sample, rgb);
    dr_run_close(run);
}

static const dr_backend *honest;

static dr_status step_to_no_numbers(dr_pass *p, const dr_sampler_step_args *a)
{
    const dr_status rc = honest->sampler_step(p, a);

    for (size_t i = 0; !p->planning && i < dr_tensor_pixels(&a->history) * (size_t)a->history.c; i++)
        ((float *)a->history.data)[i] = NAN;
    return rc;
}

static int most_rows; /* of a call */

static dr_status step_and_count(dr_pass *p, const dr_sampler_step_args *a)
{
    if (!p->planning && a->output.n > most_rows)
        most_rows = a->output.n;
    return honest->sampler_step(p, a);
}

/* With a scale of 1 or less there is no guidance.  Models for few steps are used with 0. */
static void guidance_of_1_and_below_is_none(void **state)
{
    static const float guidance[] = { 1.0f, 0.0f, 0.5f, 1.5f };
    static uint8_t rgb[4][PICTURE];
    dr_model *model = open_model("sd1");
    dr_backend counting = *device->backend;
    (void)state;

    honest = device->backend;
    counting.sampler_step = step_and_count;
    for (int i = 0; i < 4; i++) {
        dr_run *run = open_run(model, WIDTH, HEIGHT, 1);
        dr_text_to_image request = request_of(4);
        most_rows = 0;
        device->backend = &counting;
        request.guidance_scale = guidance[i];
        const int sample = add(run, &request);
        while (!done(run, sample))
            step(run);
        finish(run, sample, rgb[i]);
        device->backend = honest;
        assert_int_equal(most_rows, guidance[i] > 1.0f ? 2 : 1); /* the other one would be for nothing */
        dr_run_close(run);
    }
    assert_memory_equal(rgb[0], rgb[1], PICTURE);
    assert_memory_equal(rgb[0], rgb[2], PICTURE);
    assert_memory_not_equal(rgb[0], rgb[3], PICTURE);
    dr_model_close(model);
}

/* Samples join and leave one run at random steps, and some are dropped half way. */
static void bits_do_not_depend_on_company(void **state)
{
    static uint8_t alone[REQUESTS][PICTURE], rgb[PICTURE];
    dr_model *model = open_model("sd1");
    dr_run *run = open_run(model, WIDTH, HEIGHT, BATCH);
    int who[BATCH] = { -1, -1, -1, -1 }, sample[BATCH], pictures = 0;
    uint32_t random = 12345;
    (void)state;

    for (int i = 0; i < REQUESTS; i++)
        draw_alone(model, i, alone[i]);
    while (pictures < 40) {
        for (int b = 0; b < BATCH; b++) {
            random = random * 1664525u + 1013904223u;
            if (who[b] < 0 && random >> 30 == 0) {
                const dr_text_to_image request = request_of(who[b] = (int)(random >> 8) % REQUESTS);

                sample[b] = add(run, &request);
            } else if (who[b] >= 0 && random >> 28 == 15) {
                dr_run_drop(run, sample[b]);
                who[b] = -1;
            }
        }
        step(run);
        for (int b = 0; b < BATCH; b++)
            if (who[b] >= 0 && done(run, sample[b])) {
                finish(run, sample[b], rgb);
                if (memcmp(rgb, alone[who[b]], sizeof(rgb)) != 0)
                    fail_msg("request %d came out different in company", who[b]);
                who[b] = -1;
                pictures++;
            }
    }
    dr_run_close(run);
    dr_model_close(model);
}

static void draw_in(dr_run *run, const dr_text_to_image *request, uint8_t *rgb)
{
    const int sample = add(run, request);

    while (!done(run, sample))
        step(run);
    finish(run, sample, rgb);
}

/* A sample is not changed by the sample that had its place before, whose history was NaN and which had
 * other prompts. */
static void a_place_is_as_good_as_new(void **state)
{
    static uint8_t alone[PICTURE], rgb[PICTURE];
    const dr_text_to_image before = request_of(0);
    dr_text_to_image request = request_of(4); /* other prompts, both */
    dr_model *model = open_model("sd1");
    dr_backend flaky = *device->backend;
    dr_run *run = open_run(model, WIDTH, HEIGHT, 1);
    int sample;
    (void)state;

    request.sampler = DR_SAMPLER_UNIPC; /* looks back */
    request.guidance_scale = 5.0f;
    request.negative_prompt = "blue";
    request.negative_prompt_bytes = 4;
    draw_in(run, &request, alone);
    dr_run_close(run);

    run = open_run(model, WIDTH, HEIGHT, 1);
    honest = device->backend;
    flaky.sampler_step = step_to_no_numbers;
    device->backend = &flaky;
    sample = add(run, &before);
    step(run);
    dr_run_drop(run, sample);
    device->backend = honest;
    draw_in(run, &request, rgb);
    assert_memory_equal(rgb, alone, PICTURE);
    dr_run_close(run);
    dr_model_close(model);
}

static void a_seed_is_a_picture(void **state)
{
    static uint8_t a[PICTURE], b[PICTURE], c[PICTURE];
    dr_model *model = open_model("sd1");
    (void)state;

    draw_alone(model, 1, a);
    draw_alone(model, 1, b);
    draw_alone(model, 2, c);
    assert_memory_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, c, sizeof(a));
    dr_model_close(model);
}

/* Two devices with the same dr_device_arithmetic() draw the same picture. */
static void bits_do_not_depend_on_threads(void **state)
{
    static struct {
        char arithmetic[DR_ARITHMETIC_BYTES];
        uint8_t rgb[PICTURE];
    } first;
    static uint8_t rgb[PICTURE];
    dr_model *model = open_model("sd1");
    (void)state;

    draw_alone(model, 1, rgb);
    if (threads == machine_threads[0]) {
        snprintf(first.arithmetic, sizeof(first.arithmetic), "%s", dr_device_arithmetic(device));
        memcpy(first.rgb, rgb, sizeof(rgb));
    }
    assert_string_equal(dr_device_arithmetic(device), first.arithmetic);
    assert_memory_equal(rgb, first.rgb, sizeof(rgb));
    dr_model_close(model);
}

/* --- bad requests ------------------------------------------------------------------------ */

static void impossible_requests_are_refused(void **state)
{
    dr_model *model = open_model("sd1"), *inpaint = open_model("inpaint");
    dr_run *run = open_run(model, 64, 64, 1), *none;
    const dr_text_to_image good = request_of(0);
    static char megabyte[1 << 20];
    dr_text_to_image bad;
    dr_error err;
    int sample;
    (void)state;

    memset(megabyte, 'a', sizeof(megabyte));

    bad = good, bad.steps = 0;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    bad = good, bad.steps = DR_STEPS_MAX + 1;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "steps"));
    bad = good, bad.guidance_scale = NAN;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    bad = good, bad.guidance_scale = -1.0f;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    bad = good, bad.sampler = DR_SAMPLERS;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "sampler"));
    bad = good, bad.sampler = DR_SAMPLER_LCM, bad.steps = 51;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "lcm takes 1 to 50"));
    bad = good, bad.prompt = "\xff\xfe", bad.prompt_bytes = 2;
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    bad = good, bad.prompt = megabyte, bad.prompt_bytes = sizeof(megabyte);
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    assert_non_null(strstr(err.text, "1048576 bytes"));
    bad = good, bad.guidance_scale = 7, bad.negative_prompt = megabyte,
    bad.negative_prompt_bytes = sizeof(megabyte);
    assert_int_equal(dr_run_add(run, &bad, &sample, &err), DR_EINVAL);
    const dr_run_options options = { .width = 64, .height = 64, .samples_max = 1 };
    assert_int_equal(dr_run_open(&none, inpaint, &options, &err), DR_EUNSUPPORTED);

    /* none of that took a place; and a prompt may be empty */
    bad = good, bad.prompt = NULL, bad.prompt_bytes = 0;
    dr_run_drop(run, add(run, &bad));
    sample = add(run, &good);
    assert_int_equal(dr_run_add(run, &good, &sample, &err), DR_ENOMEM);
    assert_true(err.retriable);

    static const int sides[][2] = { { 0, 64 }, { 64, -8 }, { 60, 64 }, { 64, 100000 }, { 2056, 64 } };
    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        const dr_run_options odd = { .width = sides[i][0], .height = sides[i][1], .samples_max = 1 };

        assert_int_equal(dr_run_open(&none, model, &odd, &err), DR_EINVAL);
        assert_null(none);
    }
    dr_run_close(run);
    dr_model_close(model);
    dr_model_close(inpaint);
}

/* --- memory ------------------------------------------------------------------------------ */

/* Allocations of Darkroom's own code, not of libraries: the linker redirects them here (--wrap, see the
 * Makefile). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void __wrap_free(void *memory);

static int allocations;
static size_t aligned_bytes; /* device memory, all that was ever taken: nothing else is aligned */

/* Device memory that lives: one row for each piece, in no order.  Only the thread that owns the device
 * allocates. */
static struct piece {
    const void *memory;
    size_t bytes;
} pieces[4096];
static int piece_count;

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    allocations++;
    return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    allocations++;
    aligned_bytes += size;
    assert_in_range(piece_count, 0, sizeof(pieces) / sizeof(pieces[0]) - 1);
    pieces[piece_count++] = (struct piece){ __real_aligned_alloc(align, size), size };
    return (void *)pieces[piece_count - 1].memory;
}

void __wrap_free(void *memory)
{
    for (int i = 0; memory && i < piece_count; i++)
        if (pieces[i].memory == memory)
            pieces[i--] = pieces[--piece_count];
    __real_free(memory);
}

static size_t live_bytes(void)
{
    size_t bytes = 0;

    for (int i = 0; i < piece_count; i++)
        bytes += pieces[i].bytes;
    return bytes;
}

static void a_step_allocates_nothing(void **state)
{
    dr_model *model = open_model("sd1");
    dr_run *run = open_run(model, 64, 64, 2);
    const dr_text_to_image requests[2] = { request_of(8),
                                           request_of(4) }; /* both draw noise or keep history */
    int sample[2], before;
    (void)state;

    assert_true(allocations > 0); /* opening counted: the counter counts */
    for (int i = 0; i < 2; i++)
        sample[i] = add(run, &requests[i]);
    step(run); /* plans, encodes */
    before = allocations;
    step(run);
    step(run);
    assert_int_equal(allocations, before);
    for (int i = 0; i < 2; i++)
        dr_run_drop(run, sample[i]);
    dr_run_close(run);
    dr_model_close(model);
}

/* dr_run_bytes() is exact but for the rounding of eleven allocations.  All of it is taken when the run
 * opens, and none later. */
static void the_plan_says_what_a_run_takes(void **state)
{
    static const dr_run_options sizes[] = { { .width = 40, .height = HEIGHT, .samples_max = 1 },
                                            { .width = WIDTH, .height = HEIGHT, .samples_max = 4 } };
    static uint8_t rgb[PICTURE];
    dr_model *model = open_model("sd1");
    (void)state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t planned, before = aligned_bytes, taken;
        dr_run *run;

        assert_int_equal(dr_run_bytes(model, &sizes[i], &planned, NULL), DR_OK);
        assert_int_equal(aligned_bytes, before); /* asking takes nothing */
        run = open_run(model, sizes[i].width, sizes[i].height, sizes[i].samples_max);
        taken = aligned_bytes - before;
        assert_in_range(taken, planned, planned + 11 * DR_ARENA_ALIGN);
        for (int mixed = 0; mixed < 2; mixed++) { /* all with guidance; then one of four without */
            for (int k = 0; k < sizes[i].samples_max; k++) {
                const dr_text_to_image request = request_of(mixed * k);

                assert_int_equal(add(run, &request), k);
            }
            step(run);
            for (int k = 0; k < sizes[i].samples_max; k++)
                finish(run, k, rgb);
        }
        assert_int_equal(aligned_bytes - before, taken);
        dr_run_close(run);
    }
    dr_model_close(model);
}

/* Weights take float32, and four times as much for narrow layers, which Winograd's transform makes larger. */
static void a_model_says_what_its_weights_take(void **state)
{
    const size_t before = live_bytes(); /* what packs the weights may take scratch, which does not stay */
    dr_model *model = open_model("sd1");
    const size_t taken = live_bytes() - before, said = dr_model_info_of(model)->weight_bytes;
    (void)state;

    /* biases are not aligned, and aligned memory is rounded up: neither is a tenth of even a tiny model */
    assert_in_range(said, taken - taken / 10, taken + taken / 10);
    dr_model_close(model);
    assert_int_equal(live_bytes(), before);
}

/* A picture without finite values would be black and look like a picture: it is refused.  The next picture
 * uses its place. */
static void a_picture_of_no_numbers_is_refused(void **state)
{
    const dr_tensor latent = {
        .data = calloc(64 * 4, sizeof(float)), .dtype = DR_F32, .n = 1, .h = 8, .w = 8, .c = 4, .ld = 4
    };
    dr_model *model = open_model("sd1");
    dr_decodes decodes = dr_decodes_shape(model, latent);
    dr_passes *passes = calloc(1, sizeof(*passes));
    uint8_t *rgb = malloc(dr_tensor_pixels(&decodes.rgb) * 3);
    dr_error err;
    int place;
    (void)state;

    passes->device = device;
    assert_int_equal(dr_decodes_init(&decodes, &err), DR_OK);
    assert_int_equal(dr_decodes_plan(&decodes, passes, &err), DR_OK);
    ((float *)latent.data)[77] = NAN;
    assert_int_equal(dr_decodes_begin(&decodes, passes, latent, &place, &err), DR_OK);
    assert_int_equal(dr_decodes_end(&decodes, place, rgb, &err), DR_EUNSUPPORTED);
    assert_string_equal(err.text,
                        "the picture's values are infinite or not a number: the model's weights or the "
                        "guidance scale are too large");
    ((float *)latent.data)[77] = 0.5f;
    assert_int_equal(dr_decodes_begin(&decodes, passes, latent, &place, &err), DR_OK);
    assert_int_equal(dr_decodes_end(&decodes, place, rgb, &err), DR_OK);
    dr_decodes_free(&decodes);
    dr_passes_free(passes);
    free(passes);
    free(rgb);
    free(latent.data);
    dr_model_close(model);
}

static int run_on(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guidance_of_1_and_below_is_none),
        cmocka_unit_test(bits_do_not_depend_on_company),
        cmocka_unit_test(a_place_is_as_good_as_new),
        cmocka_unit_test(a_seed_is_a_picture),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(the_plan_says_what_a_run_takes),
        cmocka_unit_test(a_model_says_what_its_weights_take),
        cmocka_unit_test(a_picture_of_no_numbers_is_refused),
    };

    device = m->device;
    threads = m->threads;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    return on_each_machine(run_on);
}
