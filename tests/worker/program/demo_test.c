/* `darkroom demo`: jobs really go through a broker and come back as pictures.  The model that ships with
 * the project draws what was asked for. */
#include "tests/worker/program.h"

#include <math.h>
#include <vips/vips.h>

/* Two colours of models/tiny/train/captions.py are 83 apart at the least. */
static const double COLOUR_TOLERANCE = 40;

static char out[96];

/* One folder for all tests: the demo with a model clears up after the one without, and its pictures are
 * looked at twice. */
static int begin(void **state)
{
    program_begin(state);
    snprintf(out, sizeof(out), "%s/out", program_folder.path);
    return 0;
}

static bool has(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", out, name);
    return access(path, R_OK) == 0;
}

static int demo(void)
{
    char *argv[] = { program, "demo",        "--device", "null", "--null-step-us", "200", "--out",
                     out,     "--log-level", "debug",    NULL };
    return program_code(program_spawn(argv));
}

static void assert_all_is_there(void)
{
    assert_true(has("cat.png") && has("bus.png") && has("lollipop.webp") && has("mushroom@1.png"));
    assert_true(has("contact-sheet.png") && has("demo-jobs.jsonl") && has("results.jsonl"));
}

static void pictures_come_out(void **state)
{
    (void)state;
    assert_int_equal(demo(), 0);
    assert_all_is_there();
    assert_true(program_has_said("mushroom sent\n") && program_has_said("mushroom succeeded"));
    assert_true(program_has_said("jobs, null, 128x128, 20 steps: ")); /* a batch as it formed */
}

static void a_second_demo_clears_up_after_the_first(void **state)
{
    char *argv[] = { program, "demo", "--device", "cpu", "--models", "models", "--out", out, NULL };

    (void)state;
    assert_int_equal(program_code(program_spawn(argv)), 0);
    assert_all_is_there();
    assert_true(program_has_said("Look at: file:///") && program_has_said("/out/contact-sheet.png"));
}

/* The mean colour of the top left corner of a picture. */
static void background_of(const char *name, double rgb[3])
{
    char path[160];
    VipsImage *image, *corner;

    snprintf(path, sizeof(path), "%s/%s", out, name);
    image = vips_image_new_from_file(path, NULL);
    assert_non_null(image);
    assert_int_equal(vips_crop(image, &corner, 0, 0, 8, 8, NULL), 0);
    for (int c = 0; c < 3; c++) {
        VipsImage *band;
        assert_int_equal(vips_extract_band(corner, &band, c, NULL), 0);
        assert_int_equal(vips_avg(band, &rgb[c], NULL), 0);
        g_object_unref(band);
    }
    g_object_unref(corner);
    g_object_unref(image);
}

/* The pictures are those of the demo that ran before. */
static void the_model_that_ships_draws_what_is_asked_for(void **state)
{
    static const struct {
        const char *name;
        double rgb[3]; /* as models/tiny/train/captions.py has it */
    } expected[] = {
        { "clock.png", { 22, 150, 150 } },   { "tree.png", { 44, 96, 216 } },
        { "rocket.png", { 250, 250, 250 } }, { "ice.png", { 246, 156, 196 } },
        { "bus.png", { 245, 138, 31 } },     { "lollipop.webp", { 60, 158, 74 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const double *want = expected[i].rgb;
        double rgb[3];
        background_of(expected[i].name, rgb);
        if (hypot(hypot(rgb[0] - want[0], rgb[1] - want[1]), rgb[2] - want[2]) > COLOUR_TOLERANCE)
            fail_msg("%s: background %.0f, %.0f, %.0f", expected[i].name, rgb[0], rgb[1], rgb[2]);
    }
}

/* A newcomer looks at these: no two pictures are alike, and the guidance is one with which the model was
 * measured. */
static void no_two_pictures_are_nearly_alike(void **state)
{
    static const char *const names[] = { "cat.png",  "clock.png",      "ball.png",       "rocket.png",
                                         "boat.png", "bus.png",        "car.png",        "lollipop.webp",
                                         "ice.png",  "mushroom@0.png", "mushroom@1.png", "tree.png" };
    enum { N = sizeof(names) / sizeof(names[0]), SIDE = 16 };
    uint8_t *pixels[N];
    char path[160];
    void *bytes;
    size_t size;

    (void)state;
    for (int i = 0; i < N; i++) {
        VipsImage *small;
        snprintf(path, sizeof(path), "%s/%s", out, names[i]);
        assert_int_equal(vips_thumbnail(path, &small, SIDE, "height", SIDE, "size", VIPS_SIZE_FORCE, NULL),
                         0);
        pixels[i] = vips_image_write_to_memory(small, &size);
        assert_int_equal(size, SIDE * SIDE * 3);
        g_object_unref(small);
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < a; b++) {
            double sum = 0;
            for (int i = 0; i < SIDE * SIDE * 3; i++)
                sum += abs(pixels[a][i] - pixels[b][i]);
            if (sum / (SIDE * SIDE * 3) <
                30) /* two seeds of a prompt with its colour differ by less than 10 */
                fail_msg("%s and %s differ by %.1f", names[a], names[b], sum / (SIDE * SIDE * 3));
        }
    for (int i = 0; i < N; i++)
        g_free(pixels[i]);
    snprintf(path, sizeof(path), "%s/demo-jobs.jsonl", out);
    assert_int_equal(dr_file_read(path, 1 << 20, &bytes, &size, NULL), DR_OK);
    assert_non_null(strstr(bytes, "\"guidance_scale\":5"));
    free(bytes);
}

static void results_of_others_are_left_alone(void **state)
{
    char path[160];
    (void)state;
    snprintf(out, sizeof(out), "%s/another", program_folder.path);
    snprintf(path, sizeof(path), "%s/results.jsonl", out);
    assert_int_equal(dr_folder_make(out, NULL), DR_OK);
    assert_int_equal(dr_file_write(path, "{}\n", 3, NULL), DR_OK);
    assert_int_equal(demo(), 1);
    assert_true(program_has_said("--out"));
    assert_true(has("results.jsonl") && !has("demo-jobs.jsonl"));
}

/* A device that is not there is refused before a broker is started and a folder is made. */
static void the_device_is_checked_first(void **state)
{
    char folder[112];
    char *argv[] = { program, "demo", "--device", "abacus", "--models", "models", "--out", folder, NULL };

    (void)state;
    snprintf(folder, sizeof(folder), "%s/no-device", program_folder.path);
    assert_int_equal(program_code(program_spawn(argv)), 1);
    assert_true(program_has_said("abacus"));
    assert_false(program_has_said("broker "));
    assert_int_equal(access(folder, F_OK), -1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_is_checked_first),
        cmocka_unit_test(pictures_come_out),
        cmocka_unit_test(a_second_demo_clears_up_after_the_first),
        cmocka_unit_test(the_model_that_ships_draws_what_is_asked_for),
        cmocka_unit_test(no_two_pictures_are_nearly_alike),
        cmocka_unit_test(results_of_others_are_left_alone),
    };
    (void)argc;
    program_find(argv[0]);
    if (VIPS_INIT(argv[0]))
        return 1;
    return cmocka_run_group_tests_name("demo", tests, begin, program_end);
}
