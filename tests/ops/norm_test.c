/* Compares group norm and layer norm of every instruction set with loops in double, also for values far from
 * zero.  Tests also that a row's bits depend on nothing but the row. */
#include "tests/ops/operator.h"
#include "tests/support/machines.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

/* Results lie within about +-4, where a float's grid is 2.4e-7: two such steps for the product, the sum and
 * the statistics, and two for SiLU.  Far from zero the error is no larger: the statistics must not cancel. */
#define TOLERANCE 1e-6

typedef struct shape {
    int n, h, w, c, groups;
    float mean, spread; /* values are mean + spread * [-1, 1) */
    bool silu;
} shape;

static const shape group_shapes[] = {
    { 1, 1, 1, 1, 1, 0, 1, false }, /* a group of one value: beta */
    { 2, 1, 1, 32, 4, 0, 1, true },
    { 2, 3, 5, 21, 3, 0, 1, false }, /* 7 channels a group */
    { 2, 3, 5, 21, 7, 0, 1, true },
    { 1, 7, 9, 33, 3, 0, 1, false },  /* one less than the block of pixels */
    { 1, 8, 8, 32, 32, 0, 1, true },  /* just it */
    { 1, 5, 13, 17, 1, 0, 1, false }, /* one past it, one past a vector */
    { 2, 16, 16, 320, 32, 0, 1, true },
    { 1, 40, 40, 64, 32, 3, 1, false },
    { 2, 16, 16, 64, 32, 1e4f, 1, false },
    { 1, 24, 24, 21, 3, -1e4f, 1, true },
    { 1, 24, 24, 21, 3, 1e-4f, 1e-4f, false }, /* eps counts */
    { 1, 24, 24, 32, 4, 0, 1e15f, false },     /* squares near the end of float's range */
};

static const shape layer_shapes[] = {
    { 1, 1, 1, 1, 0, 0, 1, false },         { 3, 1, 1, 2, 0, 0, 1, false },
    { 2, 1, 7, 17, 0, 0, 1, false },        { 2, 1, 7, 63, 0, 0, 1, false },
    { 2, 1, 7, 65, 0, 0, 1, false },        { 2, 1, 77, 768, 0, 0, 1, false },
    { 1, 1, 100, 1280, 0, 3, 1, false },    { 1, 1, 100, 320, 0, 1e4f, 1, false },
    { 1, 1, 100, 321, 0, -1e4f, 1, false }, { 1, 1, 10, 33, 0, 0, 1e15f, false },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

typedef struct problem {
    dr_tensor x, y, gamma, beta;
    dr_norm norm;
} problem;

static problem new_problem(const shape *s)
{
    problem p = {
        .x = random_tensor(s->n, s->h, s->w, s->c, 1),
        .y = new_tensor(s->n, s->h, s->w, s->c),
        .gamma = random_tensor(1, 1, 1, s->c, 2),
        .beta = random_tensor(1, 1, 1, s->c, 3),
    };
    float *x = p.x.data;

    for (size_t i = 0; i < tensor_values(&p.x); i++)
        x[i] = s->mean + s->spread * x[i];
    p.norm = (dr_norm){ p.gamma.data, p.beta.data, s->c, s->groups, 1e-5f };
    return p;
}

static void free_problem(problem *p)
{
    free(p->x.data);
    free(p->y.data);
    free(p->gamma.data);
    free(p->beta.data);
}

/* The worst error of `count` values that are normalised together: pixels x width, c apart. */
static double worst_in_group(const problem *p, size_t from, size_t pixels, size_t width, size_t channel,
                             bool silu)
{
    const float *x = (const float *)p->x.data + from, *y = (const float *)p->y.data + from;
    const size_t c = (size_t)p->x.c;
    double mean = 0.0, variance = 0.0, worst = 0.0;

    for (size_t i = 0; i < pixels; i++)
        for (size_t j = 0; j < width; j++)
            mean += x[i * c + j] / (double)(pixels * width);
    for (size_t i = 0; i < pixels; i++)
        for (size_t j = 0; j < width; j++)
            variance += (x[i * c + j] - mean) * (x[i * c + j] - mean) / (double)(pixels * width);
    for (size_t i = 0; i < pixels; i++)
        for (size_t j = 0; j < width; j++) {
            const double unit = (x[i * c + j] - mean) / sqrt(variance + (double)p->norm.eps);
            const double affine = unit * p->norm.gamma[channel + j] + p->norm.beta[channel + j];
            const double error = fabs((silu ? affine / (1.0 + exp(-affine)) : affine) - y[i * c + j]);

            worst = worse(worst, error);
        }
    return worst;
}

static double worst_group_norm(const problem *p, bool silu)
{
    const size_t pixels = (size_t)p->x.h * (size_t)p->x.w, c = (size_t)p->x.c;
    const size_t groups = (size_t)p->norm.groups, width = c / groups;
    double worst = 0.0;

    for (size_t n = 0; n < (size_t)p->x.n; n++)
        for (size_t g = 0; g < groups; g++)
            worst =
                worse(worst, worst_in_group(p, n * pixels * c + g * width, pixels, width, g * width, silu));
    return worst;
}

static void group_norm_agrees_with_double(void **state)
{
    for (size_t i = 0; i < COUNT(group_shapes); i++) {
        const shape *s = &group_shapes[i];
        problem p = new_problem(s);
        double error;

        OPERATE(*state, dr_group_norm,
                &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = s->silu });
        error = worst_group_norm(&p, s->silu);
        if (!(error <= TOLERANCE))
            fail_msg("[%d, %d, %d, %d] in %d groups, mean %g: off by %g, allowed %g", s->n, s->h, s->w, s->c,
                     s->groups, (double)s->mean, error, TOLERANCE);
        free_problem(&p);
    }
}

static void layer_norm_agrees_with_double(void **state)
{
    for (size_t i = 0; i < COUNT(layer_shapes); i++) {
        const shape *s = &layer_shapes[i];
        problem p = new_problem(s);
        double error = 0.0;

        OPERATE(*state, dr_layer_norm, &(dr_layer_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm });
        for (size_t t = 0; t < dr_tensor_pixels(&p.x); t++)
            error = worse(error, worst_in_group(&p, t * (size_t)s->c, 1, (size_t)s->c, 0, false));
        if (!(error <= TOLERANCE))
            fail_msg("%d tokens of %d, mean %g: off by %g, allowed %g", s->n * s->w, s->c, (double)s->mean,
                     error, TOLERANCE);
        free_problem(&p);
    }
}

/* A variance of 0 leaves beta, exactly: no rounding of the mean may come through 1 / sqrt(eps). */
static void constant_input_gives_beta(void **state)
{
    const shape s = { 2, 9, 11, 42, 6, 1234.567f, 0, false };
    problem p = new_problem(&s);
    const float *y = p.y.data;

    OPERATE(*state, dr_group_norm, &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm });
    for (size_t i = 0; i < tensor_values(&p.y); i++)
        assert_true(y[i] == p.norm.beta[i % 42]);
    OPERATE(*state, dr_layer_norm, &(dr_layer_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm });
    for (size_t i = 0; i < tensor_values(&p.y); i++)
        assert_true(y[i] == p.norm.beta[i % 42]);
    free_problem(&p);
}

/* Compares one row out of five, alone and in place, with the same row in the batch. */
static void a_row_alone_has_the_same_bits(void **state)
{
    for (size_t i = 0; i < COUNT(group_shapes); i++) {
        shape s = group_shapes[i];
        problem p;

        s.n = 5;
        p = new_problem(&s);
        OPERATE(*state, dr_group_norm,
                &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = s.silu });
        for (int n = s.n - 1; n >= 0; n--) {
            const dr_tensor x = dr_tensor_rows(p.x, n, 1), y = dr_tensor_rows(p.y, n, 1);

            OPERATE(*state, dr_group_norm,
                    &(dr_group_norm_args){ .x = x, .y = x, .norm = &p.norm, .silu = s.silu });
            assert_memory_equal(x.data, y.data, tensor_values(&x) * sizeof(float));
        }
        free_problem(&p);
    }
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    for (dr_isa isa = 0; isa < DR_ISAS; isa++) {
        const shape s = { 2, 30, 31, 42, 6, 1, 1, true };
        problem p[2] = { new_problem(&s), new_problem(&s) };
        const int threads[2] = { 1, 3 };

        for (int i = 0; i < 2 && dr_kernels_of(isa); i++) {
            dr_device *device = open_cpu(isa, threads[i]);

            OPERATE(device, dr_group_norm,
                    &(dr_group_norm_args){ .x = p[i].x, .y = p[i].x, .norm = &p[i].norm, .silu = true });
            OPERATE(device, dr_layer_norm,
                    &(dr_layer_norm_args){ .x = p[i].x, .y = p[i].x, .norm = &p[i].norm });
            dr_device_close(device);
        }
        assert_memory_equal(p[0].x.data, p[1].x.data, tensor_values(&p[0].x) * sizeof(float));
        free_problem(&p[0]);
        free_problem(&p[1]);
    }
}

/* A NaN reaches its own group and no other. */
static void nan_stays_in_its_group(void **state)
{
    const shape s = { 2, 10, 10, 12, 3, 0, 1, true };
    problem p = new_problem(&s);
    const float *y = p.y.data;

    ((float *)p.x.data)[100 * 12 + 25 * 12 + 5] = NAN; /* row 1, group 1 */
    OPERATE(*state, dr_group_norm,
            &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = true });
    for (int i = 0; i < 2 * 100 * 12; i++)
        assert_int_equal(isnan(y[i]) != 0, i >= 1200 && i % 12 / 4 == 1);
    free_problem(&p);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(group_norm_agrees_with_double, m->device),
        cmocka_unit_test_prestate(layer_norm_agrees_with_double, m->device),
        cmocka_unit_test_prestate(constant_input_gives_beta, m->device),
        cmocka_unit_test_prestate(a_row_alone_has_the_same_bits, m->device),
        cmocka_unit_test_prestate(nan_stays_in_its_group, m->device),
    };

    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest across[] = { cmocka_unit_test(threads_do_not_change_bits) };
    return on_each_machine(run) + cmocka_run_group_tests_name("norm", across, NULL, NULL);
}
