/* Tests a group norm that gets its statistics from the operator that wrote its input, on a GPU in either
 * storage type.  Compares it with the same norm without them, and compares a row alone with the same row
 * among others.  Statistics that no longer hold are forgotten in time. */
#include "tests/gpu/machine.h"
#include "tests/gpu/side.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Both norms have the same input.  Statistics that differ in the last bits of float32 move a value by at most
 * this.  That may move it across the edge between two values of the storage type. */
#define ARITHMETIC 1e-5

/* What happens to the tensor in between. */
typedef enum between {
    NORMALISED,   /* nothing */
    READ,         /* by others */
    SCALED,       /* it is written again */
    PART_SCALED,  /* one row of it is */
    OTHER_GROUPS, /* the norm has not the groups that were expected */
    RELEASED,     /* the tensor is released, and another one has its memory */
    NORMALISED_TWICE,
} between;

typedef struct shape {
    int n, h, w, in, out, groups;
    bool upsample;
    between between;
    bool kept; /* statistics are there at the norm */
} shape;

static const shape shapes[] = {
    { 3, 8, 8, 16, 48, 4, false, NORMALISED, true },
    { 2, 16, 8, 8, 320, 32, false, NORMALISED, true },
    { 2, 16, 16, 8, 64, 8, true, NORMALISED, true },
    { 2, 16, 12, 8, 40, 4, false, READ, true },
    { 2, 16, 8, 32, 64, 8, false, NORMALISED, true }, /* (not if cuDNN does the convolution) */
    { 2, 9, 7, 16, 48, 4, false, NORMALISED, false },
    { 2, 16, 8, 8, 160, 16, false, SCALED, false },
    { 2, 16, 8, 8, 160, 16, false, PART_SCALED, false },
    { 2, 16, 8, 8, 160, 16, false, OTHER_GROUPS, false },
    { 2, 16, 8, 8, 160, 16, false, RELEASED, false },
    { 2, 16, 8, 8, 160, 16, false, NORMALISED_TWICE, false },
};

typedef struct two_layers {
    const shape *shape;
    const dr_conv *conv;
    dr_norm norm;
    dr_tensor x, y;
    bool expected; /* the convolution is told of the norm */
    bool kept;
} two_layers;

static void scale_by(dr_pass *p, dr_tensor x, dr_tensor y, float factor)
{
    dr_scale(p, &(dr_scale_args){ .x = x, .y = y, .factor = factor });
}

/* Returns what the norm reads; h is used up. */
static dr_tensor pass_time(dr_pass *p, const two_layers *t, dr_tensor h)
{
    switch (t->shape->between) {
    case READ:
        scale_by(p, h, t->y, 1.0f);
        break;
    case SCALED:
        scale_by(p, h, h, 0.5f);
        break;
    case PART_SCALED:
        scale_by(p, dr_tensor_rows(h, h.n - 1, 1), dr_tensor_rows(h, h.n - 1, 1), 3.0f);
        break;
    case RELEASED:
        dr_release(p, &h);
        h = dr_take_like(p, t->y);
        scale_by(p, t->y, h, 1.0f);
        break;
    case NORMALISED_TWICE:
        dr_group_norm(p, &(dr_group_norm_args){ .x = h, .y = h, .norm = &t->norm });
        break;
    default:
        break;
    }
    return h;
}

static void play(dr_pass *p, void *args)
{
    const two_layers *t = args;
    dr_tensor h = dr_take_like(p, t->y);

    h = dr_conv2d(p, &(dr_conv2d_args){ .conv = t->conv,
                                        .x = t->x,
                                        .y = h,
                                        .norm_groups = t->expected ? t->shape->groups : 0 });
    h = pass_time(p, t, h);
    if (t->shape->between != OTHER_GROUPS && !p->error.status)
        assert_int_equal(p->stats.left.data != NULL, t->kept);
    dr_group_norm(p, &(dr_group_norm_args){ .x = h, .y = t->y, .norm = &t->norm, .silu = true });
    dr_release(p, &h);
}

static dr_conv *new_conv(side *s, const shape *q)
{
    const dr_conv_desc desc = { .name = "layer",
                                .in = q->in,
                                .out = q->out,
                                .kernel = 3,
                                .stride = 1,
                                .padding = DR_PAD_AROUND,
                                .upsample = q->upsample,
                                .map_pixels = q->h * q->w,
                                .weight = side_host_vector(s, (size_t)(q->in * q->out * 9), 1.0f),
                                .bias = side_host_vector(s, (size_t)q->out, 1.0f) };
    dr_conv *conv;
    dr_error err;

    if (dr_conv_create(&conv, s->device, &desc, &err))
        fail_msg("%s", err.text);
    return conv;
}

/* cuDNN leaves no statistics. */
static two_layers layers(const side_pair *p, side *s, const shape *q, const dr_conv *conv, bool expected)
{
    const int scale = q->upsample ? 2 : 1, groups = q->between == OTHER_GROUPS ? q->groups / 2 : q->groups;

    return (two_layers){
        .shape = q,
        .conv = conv,
        .norm = { side_vector(s, (size_t)q->out, 1.0f), side_vector(s, (size_t)q->out, 1.0f), q->out, groups,
                  1e-5f },
        .x = side_tensor(s, s->rows, q->h / scale, q->w / scale, q->in, 1.0f),
        .y = side_tensor(s, s->rows, q->h, q->w, q->out, 1.0f),
        .expected = expected,
        .kept = expected && q->kept && !(p->by_cudnn && q->in % 32 == 0),
    };
}

static side run_side(const side_pair *p, const shape *q, const dr_conv *conv, int first, int rows,
                     bool expected)
{
    side s = side_begin(p->gpu, p->storage, first, rows);
    two_layers t = layers(p, &s, q, conv, expected);

    side_run(&s, play, &t);
    side_keep(&s, t.y);
    return s;
}

/* If no statistics are known, the two norms are the same. */
static void assert_close_norms(const side *known, const side *read, const shape *q)
{
    const side_result *a = &known->kept[0], *b = &read->kept[0];
    const double rounding = side_rounding(a->dtype);

    for (int i = 0; i < a->n * a->pixels * a->c; i++) {
        const double x = (double)a->values[i], y = (double)b->values[i];

        if (!(fabs(x - y) <= (q->kept ? 2.0 * rounding * fabs(y) + ARITHMETIC : 0.0)))
            fail_msg("[%d, %d, %d, %d] in %d groups, way %d: %g, and without statistics %g", q->n, q->h, q->w,
                     q->out, q->groups, q->between, x, y);
    }
}

static void statistics_replace_reading(void **state)
{
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(shapes); i++) {
        const shape *q = &shapes[i];
        side weights = side_begin(p->gpu, p->storage, 0, 1);
        dr_conv *conv = new_conv(&weights, q);
        side known = run_side(p, q, conv, 0, q->n, true), read = run_side(p, q, conv, 0, q->n, false);

        if (q->between != NORMALISED_TWICE) /* there the second norm reads the first one's result */
            assert_close_norms(&known, &read, q);
        for (int row = 0; row < q->n && q->between != PART_SCALED; row++) {
            side alone = run_side(p, q, conv, row, 1, true);

            side_assert_same_rows(&alone, &known, "norm of what is known");
            side_end(&alone);
        }
        side_end(&known);
        side_end(&read);
        dr_conv_free(conv);
        side_end(&weights);
    }
}

static void their_memory_is_asked_for(void **state)
{
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, 2);
    dr_conv *conv = new_conv(&s, &shapes[1]);
    two_layers t = layers(p, &s, &shapes[1], conv, true);

    starve_pass(s.device, play, &t);
    dr_conv_free(conv);
    side_end(&s);
}

/* --- after a concatenation ----------------------------------------------------------------------- */

typedef struct concat_layers {
    dr_norm norm;
    dr_tensor a, b, y;
    bool expected;
} concat_layers;

static void play_concat(dr_pass *p, void *args)
{
    const concat_layers *t = args;
    dr_tensor h = dr_take_like(p, t->y);

    h = dr_concat(p, &(dr_concat_args){
                         .a = t->a, .b = t->b, .y = h, .norm_groups = t->expected ? t->norm.groups : 0 });
    assert_int_equal(p->stats.left.data != NULL, t->expected);
    dr_group_norm(p, &(dr_group_norm_args){ .x = h, .y = t->y, .norm = &t->norm, .silu = true });
    dr_release(p, &h);
}

/* Some group has channels of both tensors. */
static side run_concat(const side_pair *p, int first, int rows, bool expected)
{
    enum { H = 52, W = 50, A = 24, B = 36, GROUPS = 3 };
    side s = side_begin(p->gpu, p->storage, first, rows);
    concat_layers t = {
        .norm = { side_vector(&s, A + B, 1.0f), side_vector(&s, A + B, 1.0f), A + B, GROUPS, 1e-5f },
        .a = side_tensor(&s, rows, H, W, A, 1.0f),
        .b = side_tensor(&s, rows, H, W, B, 3.0f),
        .y = side_tensor(&s, rows, H, W, A + B, 1.0f),
        .expected = expected,
    };

    side_run(&s, play_concat, &t);
    side_keep(&s, t.y);
    return s;
}

static void a_concatenation_replaces_reading(void **state)
{
    const shape q = { .n = 2, .h = 52, .w = 50, .out = 60, .groups = 3, .kept = true };
    const side_pair *p = *state;
    side known = run_concat(p, 0, 2, true), read = run_concat(p, 0, 2, false);
    side alone = run_concat(p, 1, 1, true);

    assert_close_norms(&known, &read, &q);
    side_assert_same_rows(&alone, &known, "norm of a concatenation");
    side_end(&alone);
    side_end(&known);
    side_end(&read);
}

/* --- running ------------------------------------------------------------------------------------ */

static int run_storage(const char *name, const char *storage, const char *convolutions)
{
    side_pair pair = side_pair_open(storage, convolutions);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(statistics_replace_reading, &pair),
        cmocka_unit_test_prestate(their_memory_is_asked_for, &pair),
        cmocka_unit_test_prestate(a_concatenation_replaces_reading, &pair),
    };
    const int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);

    side_pair_close(&pair);
    return failed;
}

int main(void)
{
    const int absent = machine_begin();

    if (absent)
        return absent;
    return run_storage("statistics in f16", "f16", "own") + run_storage("statistics in bf16", "bf16", "own") +
           run_storage("statistics beside cuDNN", "f16", "cudnn");
}
