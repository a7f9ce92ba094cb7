/* Asks the real cuDNN for the convolutions of Stable Diffusion 1.5 and 2.1, as ops/cuda/dnn_conv.c describes
 * them, for a GPU that this machine does not have (h200.h).  Needs the toolkit, but no GPU. Tests that run
 * the kernels on a GPU are in tests/gpu. */
#include "base/dtype.h"
#include "base/limits.h"
#include "ops/cuda/dnn_conv.h"
#include "tests/cuda/h200.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { ROWS = 16, WORKSPACE_MAX = 16 << 20 };

/* --- shapes --------------------------------------------------------------------------------- */

/* of a map, in latents' sides: 64 for 512 x 512; or pixels over 8 times that, in the VAE */
typedef struct conv_class {
    int in, out;
    int kernel, stride, before;
    int side_up, side_down; /* of x: the latent's times this, over that */
    bool added;             /* also with something that is added */
} conv_class;

static const conv_class unet[] = {
    { 320, 320, 3, 1, 1, 1, 1, true },    { 320, 320, 3, 2, 1, 1, 1, false },
    { 320, 640, 3, 1, 1, 1, 2, true },    { 320, 640, 1, 1, 0, 1, 2, false },
    { 640, 640, 3, 1, 1, 1, 2, true },    { 640, 640, 3, 2, 1, 1, 2, false },
    { 640, 1280, 3, 1, 1, 1, 4, true },   { 640, 1280, 1, 1, 0, 1, 4, false },
    { 1280, 1280, 3, 1, 1, 1, 4, true },  { 1280, 1280, 3, 2, 1, 1, 4, false },
    { 1280, 1280, 3, 1, 1, 1, 8, true },  { 2560, 1280, 3, 1, 1, 1, 8, true },
    { 2560, 1280, 1, 1, 0, 1, 8, false }, { 2560, 1280, 3, 1, 1, 1, 4, true },
    { 2560, 1280, 1, 1, 0, 1, 4, false }, { 1920, 1280, 3, 1, 1, 1, 4, true },
    { 1920, 1280, 1, 1, 0, 1, 4, false }, { 1920, 640, 3, 1, 1, 1, 2, true },
    { 1920, 640, 1, 1, 0, 1, 2, false },  { 1280, 640, 3, 1, 1, 1, 2, true },
    { 1280, 640, 1, 1, 0, 1, 2, false },  { 960, 640, 3, 1, 1, 1, 2, true },
    { 960, 640, 1, 1, 0, 1, 2, false },   { 960, 320, 3, 1, 1, 1, 1, true },
    { 960, 320, 1, 1, 0, 1, 1, false },   { 640, 320, 3, 1, 1, 1, 1, true },
    { 640, 320, 1, 1, 0, 1, 1, false },
};

static const conv_class vae[] = {
    { 512, 512, 3, 1, 1, 1, 1, true },  { 512, 512, 3, 1, 1, 2, 1, true },
    { 512, 256, 3, 1, 1, 4, 1, false }, { 512, 256, 1, 1, 0, 4, 1, false },
    { 256, 256, 3, 1, 1, 4, 1, true },  { 256, 128, 3, 1, 1, 8, 1, false },
    { 256, 128, 1, 1, 0, 8, 1, false }, { 128, 128, 3, 1, 1, 8, 1, true },
    { 128, 128, 3, 2, 0, 8, 1, false }, { 128, 256, 3, 1, 1, 4, 1, false },
    { 128, 256, 1, 1, 0, 4, 1, false }, { 256, 256, 3, 2, 0, 4, 1, false },
    { 256, 512, 3, 1, 1, 2, 1, false }, { 256, 512, 1, 1, 0, 2, 1, false },
    { 512, 512, 3, 2, 0, 2, 1, false }, { 512, 8, 3, 1, 1, 1, 1, false },
};

static cuda_dnn_conv_way way_of(const conv_class *c, int latent, dr_dtype storage, bool added)
{
    const int x = latent * c->side_up / c->side_down;

    return (cuda_dnn_conv_way){ .in = c->in,
                                .out = c->out,
                                .kernel = c->kernel,
                                .stride = c->stride,
                                .before = c->before,
                                .x_h = x,
                                .x_w = x,
                                .y_h = x / c->stride,
                                .y_w = x / c->stride,
                                .storage = storage,
                                .has_added = added };
}

/* --- asking ----------------------------------------------------------------------------------- */

/* A kernel that was chosen for ROWS rows works for any number of rows. */
static void assert_plans_for_any_rows(const cuda_dnn_conv_way *way, const cuda_dnn_choice *choice,
                                      const char *what)
{
    static const int rows[] = { ROWS, 1, 2, 7 };

    for (size_t i = 0; i < COUNT(rows); i++) {
        cuda_dnn_plan plan;
        dr_error err;

        if (cuda_dnn_plan_make(&plan, &h200, &cuda_dnn_convolution, way, choice, rows[i], &err))
            fail_msg("%s, engine %d, %d rows: %s", what, (int)choice->engine, rows[i], err.text);
        assert_true(plan.workspace_bytes <= WORKSPACE_MAX);
        cuda_dnn_plan_free(&plan, &h200);
    }
}

/* Asks for candidates and asserts that each of them makes plans. */
static void ask(const cuda_dnn_conv_way *way)
{
    cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX];
    char what[128];
    dr_error err;
    int count;

    snprintf(what, sizeof(what), "%d x %d of %d to %d x %d of %d, kernel %d%s, %s", (int)way->x_h,
             (int)way->x_w, (int)way->in, (int)way->y_h, (int)way->y_w, (int)way->out, (int)way->kernel,
             way->has_added ? ", added" : "", way->storage == DR_F16 ? "f16" : "bf16");
    if (cuda_dnn_candidates(&h200, &cuda_dnn_convolution, way, ROWS, WORKSPACE_MAX, choice, &count, &err))
        fail_msg("%s: %s", what, err.text);
    assert_true(count > 2); /* the heuristic's own choices, not only its fallback */
    for (int i = 0; i < count; i++)
        assert_plans_for_any_rows(way, &choice[i], what);
}

static void ask_all(const conv_class *table, size_t count, int latent)
{
    for (size_t i = 0; i < count; i++)
        for (int how = 0; how < (table[i].added ? 4 : 2); how++) {
            const cuda_dnn_conv_way way = way_of(&table[i], latent, how % 2 ? DR_F16 : DR_BF16, how / 2);
            ask(&way);
        }
}

static void every_convolution_of_the_unet_has_kernels(void **state)
{
    (void)state;
    ask_all(unet, COUNT(unet), 64);
    ask_all(unet, COUNT(unet), 96);
}

static void every_convolution_of_the_vae_has_kernels(void **state)
{
    (void)state;
    ask_all(vae, COUNT(vae), 64);
    ask_all(vae, COUNT(vae), 96);
}

/* Odd sides, and channels in the smallest steps that our convolutions have. */
static void odd_sides_have_kernels(void **state)
{
    (void)state;
    ask(&(cuda_dnn_conv_way){ .in = 32,
                              .out = 40,
                              .kernel = 3,
                              .stride = 2,
                              .before = 1,
                              .x_h = 7,
                              .x_w = 9,
                              .y_h = 4,
                              .y_w = 5,
                              .storage = DR_F16 });
    ask(&(cuda_dnn_conv_way){ .in = 64,
                              .out = 8,
                              .kernel = 3,
                              .stride = 2,
                              .x_h = 7,
                              .x_w = 9,
                              .y_h = 3,
                              .y_w = 4,
                              .storage = DR_BF16,
                              .has_added = true });
}

/* --- what can not be ----------------------------------------------------------------------------- */

/* The error contains the library's own words. */
static void what_is_wrong_is_told(void **state)
{
    cuda_dnn_conv_way way = way_of(&unet[0], 64, DR_BF16, false);
    cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX];
    cuda_dnn_plan plan;
    dr_error err;
    int count;
    (void)state;

    assert_int_equal(cuda_dnn_candidates(&h200, &cuda_dnn_convolution, &way, ROWS, WORKSPACE_MAX, choice,
                                         &count, &err),
                     DR_OK);
    choice[0].engine = 100000;
    assert_int_not_equal(cuda_dnn_plan_make(&plan, &h200, &cuda_dnn_convolution, &way, &choice[0], ROWS,
                                            &err),
                         DR_OK);
    assert_memory_equal(err.text, "cuDNN, making a plan: CUDNN_STATUS_", 35);
    cuda_dnn_plan_free(&plan, &h200);
    way.y_h++;
    assert_int_not_equal(cuda_dnn_candidates(&h200, &cuda_dnn_convolution, &way, ROWS, WORKSPACE_MAX, choice,
                                             &count, &err),
                         DR_OK);
    assert_memory_equal(err.text, "cuDNN, asking for kernels: CUDNN_STATUS_", 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_convolution_of_the_unet_has_kernels),
        cmocka_unit_test(every_convolution_of_the_vae_has_kernels),
        cmocka_unit_test(odd_sides_have_kernels),
        cmocka_unit_test(what_is_wrong_is_told),
    };
    return cmocka_run_group_tests_name("convolutions, as cuDNN sees them", tests, open_library,
                                       close_library);
}
