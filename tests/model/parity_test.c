/* Complete pictures against the reference's: every sampler, 4, 20 and 50 steps, with and without guidance,
 * square and not (tests/goldens/data/runs.json), and some pictures of the model that ships
 * (runs_tiny.json).
 *
 * Jobs of one model and size are drawn as one batch, whatever their samplers and steps, as a worker under
 * load does.
 *
 * Tolerance: 50 dB on the 8-bit picture.  PyTorch against itself on other vector units gives at least 71.9
 * dB in these cases (tests/goldens/README.md).  50 dB is an rms error of 0.8 of 255, which nobody can see.
 *
 *     parity_test           all cases on the widest instruction set with 2 threads;
 *                           cases of at most 4 steps on the others
 *     parity_test -v        the same, and a line for each case
 *     PARITY_STEPS_MAX=4    in the environment: only cases of at most 4 steps, on all machines;
 *                           for ThreadSanitizer, which is forty times slower
 *     PARITY_STEPS_MAX=1000 all cases on all machines
 *
 * Run from the repository's root. */
#include "model/weights.h"
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

enum { BATCH = 8, CASES_MAX = 1000 };

static const double DB_MIN = 50.0;

static const machine *on;
static bool verbose;

typedef struct picture_case {
    const json_t *json;
    const char *id, *model;
    int width, height;
    bool left_out; /* by PARITY_STEPS_MAX */
    bool done;
} picture_case;

typedef struct suite {
    dr_device *device;
    json_t *manifest;
    picture_case cases[CASES_MAX];
    size_t count;
} suite;

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static dr_text_to_image request_of(const json_t *c)
{
    dr_text_to_image q = {
        .prompt = text(c, "prompt"),
        .prompt_bytes = json_string_length(json_object_get(c, "prompt")),
        .negative_prompt = text(c, "negative_prompt"),
        .negative_prompt_bytes = json_string_length(json_object_get(c, "negative_prompt")),
        .steps = (int)number(c, "steps"),
        .guidance_scale = (float)number(c, "guidance_scale"),
        .seed = (uint64_t)json_integer_value(json_object_get(c, "seed")),
    };

    assert_true(dr_sampler_from_name(text(c, "sampler"), &q.sampler));
    return q;
}

static double psnr(const uint8_t *a, const uint8_t *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : 99;
}

/* How far a picture is from the golden, in dB.  Fails if it is too far. */
static double compare(const dr_weights *goldens, const picture_case *c, const uint8_t *rgb)
{
    const size_t n = (size_t)c->width * (size_t)c->height * 3;
    dr_weight_info golden;
    uint8_t *pixels = malloc(n);
    dr_error err = { 0 };
    double db;

    assert_non_null(pixels);
    if (!dr_weights_find(goldens, text(c->json, "tensor"), &golden) || golden.bytes != n)
        fail_msg("%s: no golden of that size", c->id);
    if (dr_weights_read_bytes(goldens, text(c->json, "tensor"), 0, pixels, n, &err))
        fail_msg("%s: %s", c->id, err.text);
    db = psnr(rgb, pixels, n);
    free(pixels);
    if (verbose)
        print_message("%-32s %5.1f dB\n", c->id, db);
    if (db < DB_MIN)
        fail_msg("%s: %.1f dB, less than %.0f", c->id, db, DB_MIN);
    return db;
}

/* Draw the first case, and as many cases of the same model and size as a run has room for. */
static double draw_batch(suite *s, dr_model *model, const dr_weights *goldens, size_t first)
{
    const picture_case *like = &s->cases[first];
    uint8_t *rgb = malloc((size_t)like->width * (size_t)like->height * 3);
    int sample[BATCH], count = 0, calls = 0;
    picture_case *drawn[BATCH];
    double worst = 99;
    dr_error err;
    dr_run *run;

    if (dr_run_open(&run, model,
                    &(dr_run_options){ .width = like->width, .height = like->height, .samples_max = BATCH },
                    &err))
        fail_msg("%s: %s", like->id, err.text);
    for (size_t i = first; i < s->count && count < BATCH; i++) {
        picture_case *c = &s->cases[i];
        const dr_text_to_image request = request_of(c->json);

        if (c->left_out || c->done || strcmp(c->model, like->model) || c->width != like->width ||
            c->height != like->height)
            continue;
        if (dr_run_add(run, &request, &sample[count], &err))
            fail_msg("%s: %s", c->id, err.text);
        if (dr_run_progress(run, sample[count]).calls > calls)
            calls = dr_run_progress(run, sample[count]).calls;
        drawn[count++] = c;
    }
    for (int i = 0; i < calls; i++)
        if (dr_run_step(run, &err))
            fail_msg("%s", err.text);
    for (int i = 0; i < count; i++) {
        if (dr_run_picture_and_drop(run, sample[i], rgb, &err))
            fail_msg("%s", err.text);
        worst = fmin(worst, compare(goldens, drawn[i], rgb));
        drawn[i]->done = true;
    }
    dr_run_close(run);
    free(rgb);
    return worst;
}

static void draw_model(suite *s, const char *name, const char *folder)
{
    const char *file = text(json_object_get(s->manifest, "files"), name);
    double worst = 99;
    dr_weights *goldens;
    dr_model *model;
    char path[256];
    int drawn = 0;
    dr_error err;

    if (dr_model_open(&model, s->device, folder, &err))
        fail_msg("%s", err.text);
    snprintf(path, sizeof(path), "tests/goldens/data/%s", file);
    if (dr_weights_open_file(&goldens, path, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->cases[i].model, name) && !s->cases[i].left_out && !s->cases[i].done)
            worst = fmin(worst, draw_batch(s, model, goldens, i));
    for (size_t i = 0; i < s->count; i++)
        drawn += !strcmp(s->cases[i].model, name) && s->cases[i].done;
    assert_true(drawn > 0);
    print_message("%s: %d pictures, the furthest at %.1f dB\n", name, drawn, worst);
    dr_weights_close(goldens);
    dr_model_close(model);
}

/* Is there a case of SD 1.x with this sampler, of `steps` and `guidance`? (0: any) */
static bool has_case(const suite *s, const char *sampler, int steps, double guidance, bool square)
{
    for (size_t i = 0; i < s->count; i++) {
        const picture_case *c = &s->cases[i];

        if (!strcmp(c->model, "sd1") && !strcmp(text(c->json, "sampler"), sampler) &&
            (!steps || (int)number(c->json, "steps") == steps) &&
            (guidance <= 0 || number(c->json, "guidance_scale") == guidance) &&
            (c->width == c->height) == square)
            return true;
    }
    return false;
}

/* Which cases the goldens must have, so that none can be lost unseen. */
static void every_sampler_is_drawn_every_way(void **state)
{
    static const int steps[] = { 4, 20, 50 };
    static const double guidance[] = { 1, 7.5, 15 };
    const suite *s = *state;

    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++) {
        const char *name = dr_sampler_name((dr_sampler)i);

        for (int k = 0; k < 3; k++)
            if ((!has_case(s, name, steps[k], 0, true) && !has_case(s, name, steps[k], 0, false)) ||
                (!has_case(s, name, 0, guidance[k], true) && !has_case(s, name, 0, guidance[k], false)))
                fail_msg("%s: no case of %d steps, or of guidance %g", name, steps[k], guidance[k]);
        assert_true(has_case(s, name, 0, 0, true) && has_case(s, name, 0, 0, false));
    }
}

static void sd1_pictures_are_the_references(void **state)
{
    draw_model(*state, "sd1", "tests/goldens/models/sd1");
}

static void sd2_pictures_are_the_references(void **state)
{
    draw_model(*state, "sd2", "tests/goldens/models/sd2");
}

/* pndm with Runge-Kutta steps, in one batch with other numbers of steps. */
static void prk_pictures_are_the_references(void **state)
{
    draw_model(*state, "sd1_prk", "tests/goldens/variants/sd1_prk");
}

/* A folder as other programs save it: with tokenizer.json, flags that are null, and a scheduler class that
 * Darkroom lacks. */
static void saved_pictures_are_the_references(void **state)
{
    draw_model(*state, "sd1_saved", "tests/goldens/variants/sd1_saved");
}

static void shipped_models_pictures_are_the_references(void **state)
{
    draw_model(*state, "tiny", "models/tiny");
}

/* All cases run only on the widest instruction set with two threads.  A fault of another machine shows in
 * the first steps, too. */
static int most_steps(void)
{
    const char *steps_max = getenv("PARITY_STEPS_MAX");
    const bool widest = dr_kernels_of(on->isa) == dr_kernels_best();

    return steps_max ? atoi(steps_max) : widest && on->threads == 2 ? DR_STEPS_MAX : 4;
}

static int open_suite(void **state, const char *manifest)
{
    static suite s;
    json_error_t json_err;
    const int steps_max = most_steps();
    size_t i;
    json_t *c;

    s.count = 0;
    s.manifest = json_load_file(manifest, JSON_ALLOW_NUL, &json_err);
    s.device = on->device;
    if (!s.manifest)
        return -1;
    json_array_foreach(json_object_get(s.manifest, "cases"), i, c)
    {
        if (s.count == CASES_MAX)
            return -1;
        s.cases[s.count++] = (picture_case){ .json = c,
                                             .id = text(c, "id"),
                                             .model = text(c, "model"),
                                             .width = (int)number(c, "width"),
                                             .height = (int)number(c, "height"),
                                             .left_out = number(c, "steps") > steps_max };
    }
    *state = &s;
    return 0;
}

static int open_golden_models(void **state)
{
    return open_suite(state, "tests/goldens/data/runs.json");
}

static int open_shipped_model(void **state)
{
    return open_suite(state, "tests/goldens/data/runs_tiny.json");
}

static int open_saved_model(void **state)
{
    return open_suite(state, "tests/goldens/data/runs_saved.json");
}

static int close_suite(void **state)
{
    suite *s = *state;

    json_decref(s->manifest);
    return 0;
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sampler_is_drawn_every_way),
        cmocka_unit_test(sd1_pictures_are_the_references),
        cmocka_unit_test(sd2_pictures_are_the_references),
        cmocka_unit_test(prk_pictures_are_the_references),
    };
    const struct CMUnitTest saved[] = { cmocka_unit_test(saved_pictures_are_the_references) };
    const struct CMUnitTest shipped[] = { cmocka_unit_test(shipped_models_pictures_are_the_references) };

    on = m;
    return cmocka_run_group_tests_name(m->name, tests, open_golden_models, close_suite) +
           cmocka_run_group_tests_name("sd1_saved", saved, open_saved_model, close_suite) +
           cmocka_run_group_tests_name("models/tiny", shipped, open_shipped_model, close_suite);
}

int main(int argc, char **argv)
{
    verbose = argc > 1 && !strcmp(argv[1], "-v");
    return on_each_machine(run);
}
