/* Compares linear layers with a loop in double precision, on every instruction set of this machine.  Tests
 * also that the bits of a row do not depend on the rows beside it. */
#include "tests/ops/product_support.h"
#include "tests/support/machines.h"

static const machine *on;

enum residual { NONE, SELF, OTHER };

typedef struct shape {
    int n, h, w, in, out;
    int x_extra, y_extra; /* channels of the wider tensor that a view lies in */
    bool bias;
    enum residual residual;
    dr_activation activation;
} shape;

static const shape shapes[] = {
    { 1, 1, 1, 1, 1, 0, 0, true, NONE, DR_ACT_NONE },
    { 1, 1, 1, 320, 1280, 0, 0, true, NONE, DR_ACT_SILU },
    { 2, 1, 77, 64, 33, 0, 0, true, OTHER, DR_ACT_QUICK_GELU },
    { 3, 5, 7, 33, 7, 0, 0, false, NONE, DR_ACT_NONE },
    { 5, 3, 3, 7, 21, 0, 0, true, SELF, DR_ACT_NONE },
    { 2, 1, 29, 21, 65, 11, 64, true, OTHER, DR_ACT_GELU },
    { 1, 16, 16, 320, 64, 0, 0, true, SELF, DR_ACT_NONE },
    { 4, 8, 8, 3, 4, 1, 0, true, NONE, DR_ACT_NONE },
    { 1, 1, 15, 1281, 40, 0, 3, true, OTHER, DR_ACT_NONE },
    { 1, 1, 1300, 96, 36, 0, 0, true, NONE, DR_ACT_NONE },
    { 2, 1, 9, 2600, 70, 0, 0, false, SELF, DR_ACT_NONE },
    { 1, 1, 4200, 3, 2048, 0, 0, true, NONE, DR_ACT_NONE }, /* y of 33 MiB: written past the caches */
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void apply(dr_pass *p, const void *args)
{
    dr_apply_linear(p, args);
}

static double activated(dr_activation activation, double x)
{
    switch (activation) {
    case DR_ACT_SILU:
        return x / (1 + exp(-x));
    case DR_ACT_GELU:
        return 0.5 * x * (1 + erf(x * sqrt(0.5)));
    case DR_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    default:
        return x;
    }
}

static void one_shape(dr_device *device, dr_isa isa, const shape *s, uint32_t seed)
{
    const size_t rows = (size_t)s->n * (size_t)s->h * (size_t)s->w;
    const size_t x_ld = (size_t)(s->in + s->x_extra), y_ld = (size_t)(s->out + s->y_extra);
    float *x = random_floats(rows * x_ld, seed), *y = random_floats(rows * y_ld, seed + 1);
    float *before = random_floats(rows * y_ld, seed + 1);
    float *other = random_floats(rows * y_ld, seed + 2);
    float *weight = random_floats((size_t)s->in * (size_t)s->out, seed + 3);
    float *bias = random_floats((size_t)s->out, seed + 4);
    dr_linear_args a = { .activation = s->activation };
    dr_tensor self, view;
    dr_linear *linear;
    dr_error err;

    assert_int_equal(dr_linear_create(&linear, device,
                                      &(dr_linear_desc){ .name = "test",
                                                         .in = s->in,
                                                         .out = s->out,
                                                         .weight = weight,
                                                         .bias = s->bias ? bias : NULL },
                                      &err),
                     DR_OK);
    assert_true(dr_linear_bytes(linear) >= (size_t)s->in * (size_t)s->out * sizeof(float));
    a.linear = linear;
    a.x = tensor_of(x, s->n, s->h, s->w, s->in, (int)x_ld);
    a.y = self = tensor_of(y, s->n, s->h, s->w, s->out, (int)y_ld);
    view = tensor_of(other, s->n, s->h, s->w, s->out, (int)y_ld);
    a.residual = s->residual == NONE ? NULL : s->residual == SELF ? &self : &view;
    plan_and_run(device, apply, &a);

    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < y_ld; j++) {
            const size_t at = r * y_ld + j;
            double sum = 0;

            if (j >= (size_t)s->out) { /* beside the view: not ours */
                assert_true(y[at] == before[at]);
                continue;
            }
            for (int k = 0; k < s->in; k++)
                sum += (double)x[r * x_ld + (size_t)k] * (double)weight[j * (size_t)s->in + (size_t)k];
            sum = activated(s->activation, sum + (s->bias ? (double)bias[j] : 0));
            sum += s->residual == SELF ? (double)before[at] : s->residual == OTHER ? (double)other[at] : 0;
            if (!(fabs(sum - (double)y[at]) <= sum_tolerance(isa, s->in)))
                fail_msg("[%d -> %d] row %zu column %zu: %g, not %g", s->in, s->out, r, j, (double)y[at],
                         sum);
        }
    dr_linear_free(linear);
    free(x), free(y), free(before), free(other), free(weight), free(bias);
}

static void equals_a_naive_loop(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++)
        one_shape(on->device, on->isa, &shapes[i], 100 * i);
}

/* Compares rows of one big product with the same rows in products of every other size, at every place. */
static void bits_of_a_row_do_not_depend_on_the_others(void **state)
{
    static const int sizes[] = { 1, 2, 3, 5, 7, 13, 14, 15, 31, 32, 33, 77, 154, 255, 600 };
    static const int pairs[][2] = { { 320, 320 }, { 33, 21 }, { 1500, 64 }, { 4, 100 } };
    enum { ALL = 600 };
    (void)state;

    for (size_t pair = 0; pair < sizeof(pairs) / sizeof(pairs[0]); pair++) {
        const int in = pairs[pair][0], out = pairs[pair][1];
        dr_device *device[2] = { on->device, open_device(on->isa, 1) };
        float *x = random_floats((size_t)in * ALL, 1), *weight = random_floats((size_t)in * (size_t)out, 2);
        float *all = random_floats((size_t)out * ALL, 3), *some = random_floats((size_t)out * ALL, 4);
        const dr_linear_desc desc = { .name = "test", .in = in, .out = out, .weight = weight };
        dr_linear *linear[2] = { NULL };
        dr_error err;

        for (int i = 0; i < 2; i++)
            assert_int_equal(dr_linear_create(&linear[i], device[i], &desc, &err), DR_OK);
        plan_and_run(device[0], apply,
                     &(dr_linear_args){ .linear = linear[0],
                                        .x = tensor_of(x, 1, 1, ALL, in, in),
                                        .y = tensor_of(all, 1, 1, ALL, out, out) });
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            const size_t first = (i * 37) % (size_t)(ALL - sizes[i] + 1);

            plan_and_run(device[i % 2], apply,
                         &(dr_linear_args){ .linear = linear[i % 2],
                                            .x = tensor_of(x + first * (size_t)in, sizes[i], 1, 1, in, in),
                                            .y = tensor_of(some, sizes[i], 1, 1, out, out) });
            assert_memory_equal(some, all + first * (size_t)out,
                                (size_t)sizes[i] * (size_t)out * sizeof(float));
        }
        dr_linear_free(linear[0]);
        dr_linear_free(linear[1]);
        dr_device_close(device[1]);
        free(x), free(weight), free(all), free(some);
    }
}

static void no_scratch_is_an_error(void **state)
{
    const float weight[4] = { 1, 2, 3, 4 };
    float x[2] = { 1, 1 }, y[2];
    dr_device *device = on->device;
    dr_linear *linear;
    dr_arena arena;
    dr_pass p = { .device = device, .arena = &arena };
    dr_error err;
    char memory[64] __attribute__((aligned(64)));
    (void)state;

    assert_int_equal(
        dr_linear_create(&linear, device,
                         &(dr_linear_desc){ .name = "test", .in = 2, .out = 2, .weight = weight }, &err),
        DR_OK);
    dr_arena_init(&arena, memory, sizeof(memory));
    dr_apply_linear(&p, &(dr_linear_args){ .linear = linear,
                                           .x = tensor_of(x, 1, 1, 1, 2, 2),
                                           .y = tensor_of(y, 1, 1, 1, 2, 2) });
    assert_int_equal(p.error.status, DR_ENOMEM);
    dr_linear_free(linear);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_a_naive_loop),
        cmocka_unit_test(bits_of_a_row_do_not_depend_on_the_others),
        cmocka_unit_test(no_scratch_is_an_error),
    };

    on = m;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    return on_each_machine(run);
}
