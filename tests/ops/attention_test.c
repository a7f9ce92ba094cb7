/* Compares the attention of every instruction set with loops in double, for many shapes.  Tests also that a
 * row's bits depend on nothing but the row. */
#include "tests/ops/operator.h"
#include "tests/support/machines.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

typedef struct shape {
    int n, tq, tk, heads, d;
    bool causal;
    float size; /* of q's values: scores grow with it */
    double tolerance;
} shape;

/* Values of v lie in [-1, 1), and so do the results: the tolerance is absolute.  A score's error is a few
 * roundings of the score's own size, a weight's relative error is its score's absolute one; up to scores
 * of about 1 that leaves 1.5e-7 (measured), and we allow 5e-7.  A score of 1e4 has a grid of 1e-3. */
#define SMALL 5e-7
#define LARGE 1e-3

/* How far an instruction set may be off, in units of the tolerance above.  AMX multiplies pairs of bfloat16,
 * which hold a value to 2^-17: measured 4e-6. */
static double slack_of(dr_isa isa)
{
    return isa == DR_ISA_AMX ? 20.0 : 1.0;
}

typedef struct setup {
    dr_device *device;
    double slack;
} setup;

static const shape shapes[] = {
    { 1, 1, 1, 1, 1, false, 1, SMALL },
    { 1, 1, 1, 1, 8, true, 1, SMALL },
    { 2, 3, 5, 2, 7, false, 1, SMALL },
    { 3, 17, 77, 3, 11, false, 1, SMALL },   /* one past a vector */
    { 1, 63, 95, 1, 40, false, 1, SMALL },   /* one less than the blocks of queries and keys */
    { 1, 64, 96, 1, 40, false, 1, SMALL },   /* just them */
    { 1, 65, 97, 1, 40, false, 1, SMALL },   /* one past them */
    { 2, 256, 256, 2, 40, false, 1, SMALL }, /* SD's head sizes */
    { 1, 40, 50, 2, 42, false, 1, SMALL },   /* 32 and a rest that AMX folds, and one more */
    { 1, 40, 50, 2, 43, false, 1, SMALL },
    { 1, 100, 200, 2, 64, false, 1, SMALL },
    { 1, 100, 77, 2, 80, false, 1, SMALL },
    { 1, 64, 77, 2, 160, false, 1, SMALL },
    { 1, 70, 193, 1, 512, false, 1, SMALL }, /* the VAE's: the sum over d in parts */
    { 1, 5, 9, 1, 129, false, 1, SMALL },    /* one past such a part */
    { 2, 77, 77, 3, 64, true, 1, SMALL },    /* the text encoder */
    { 1, 200, 200, 1, 5, true, 1, SMALL },
    { 1, 33, 130, 1, 16, false, 5e3f, LARGE }, /* scores to 1e4 and beyond, of either sign */
    { 1, 130, 130, 2, 16, true, 5e3f, LARGE },
};

/* The row of k and v that row n of q uses. */
static int32_t row_of(int n, int rows)
{
    return (n * 2 + 1) % rows;
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static const float *token(const dr_tensor *t, int n, int i, int head, int d)
{
    return (const float *)t->data + ((size_t)n * (size_t)t->w + (size_t)i) * (size_t)t->ld +
           (size_t)head * (size_t)d;
}

/* One query's result in double. */
static void reference(double *y, const dr_attention_args *a, int n, int i, int head)
{
    const int d = a->q.c / a->heads, m = a->kv_row ? a->kv_row[n] : n;
    const int seen = a->causal ? i + 1 : a->k.w;
    double *score = malloc((size_t)seen * sizeof(*score));
    double max = -DBL_MAX, sum = 0.0;

    for (int j = 0; j < seen; j++) {
        score[j] = a->scale * dot(token(&a->q, n, i, head, d), token(&a->k, m, j, head, d), d);
        max = fmax(max, score[j]);
    }
    memset(y, 0, (size_t)d * sizeof(*y));
    for (int j = 0; j < seen; j++) {
        const double weight = exp(score[j] - max);

        sum += weight;
        for (int c = 0; c < d; c++)
            y[c] += weight * token(&a->v, m, j, head, d)[c];
    }
    for (int c = 0; c < d; c++)
        y[c] /= sum;
    free(score);
}

static double worst_error(const dr_attention_args *a)
{
    const int d = a->q.c / a->heads;
    double *y = malloc((size_t)d * sizeof(*y)), worst = 0.0;

    for (int n = 0; n < a->q.n; n++)
        for (int i = 0; i < a->q.w; i++)
            for (int head = 0; head < a->heads; head++) {
                reference(y, a, n, i, head);
                for (int c = 0; c < d; c++)
                    worst = worse(worst, fabs(y[c] - token(&a->y, n, i, head, d)[c]));
            }
    free(y);
    return worst;
}

/* q, k and v are thirds of one tensor where they can be, and k and v of another row by kv_row. */
typedef struct problem {
    dr_attention_args args;
    dr_tensor q, kv, y;
    int32_t *kv_row;
} problem;

static problem new_problem(const shape *s)
{
    const int c = s->heads * s->d, rows = s->n + 1;
    problem p = {
        .q = random_tensor(s->n, 1, s->tq, c, 1),
        .kv = random_tensor(rows, 1, s->tk, 2 * c + 3, 2),
        .y = new_tensor(s->n, 1, s->tq, c),
        .kv_row = malloc((size_t)s->n * sizeof(int32_t)),
    };

    for (size_t i = 0; i < tensor_values(&p.q); i++)
        ((float *)p.q.data)[i] *= s->size;
    for (int n = 0; n < s->n; n++)
        p.kv_row[n] = row_of(n, rows);
    memset(p.y.data, 0xff, tensor_values(&p.y) * sizeof(float));
    p.args = (dr_attention_args){
        .q = p.q,
        .k = dr_tensor_channels(p.kv, 1, c),
        .v = dr_tensor_channels(p.kv, c + 2, c),
        .kv_row = p.kv_row,
        .y = p.y,
        .heads = s->heads,
        .scale = 1.0f / sqrtf((float)s->d),
        .causal = s->causal,
    };
    return p;
}

static void free_problem(problem *p)
{
    free(p->q.data);
    free(p->kv.data);
    free(p->y.data);
    free(p->kv_row);
}

static void agrees_with_double(void **state)
{
    const setup *on = *state;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const shape *s = &shapes[i];
        const double tolerance = s->tolerance * on->slack;
        problem p = new_problem(s);
        double error;

        OPERATE(on->device, dr_attention, &p.args);
        error = worst_error(&p.args);
        if (!(error <= tolerance))
            fail_msg("%d x %d heads, %d queries, %d keys, d %d%s: off by %g, allowed %g", s->n, s->heads,
                     s->tq, s->tk, s->d, s->causal ? ", causal" : "", error, tolerance);
        free_problem(&p);
    }
}

/* Computes the rows of a batch one by one, and with another number of threads.  The bits must be equal. */
static void a_row_alone_has_the_same_bits(void **state)
{
    const setup *on = *state;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        shape s = shapes[i];
        problem p;
        dr_tensor alone;

        s.n = 5;
        p = new_problem(&s);
        alone = new_tensor(1, 1, s.tq, s.heads * s.d);
        OPERATE(on->device, dr_attention, &p.args);
        for (int n = 0; n < s.n; n++) {
            dr_attention_args one = p.args;
            const dr_tensor row = dr_tensor_rows(p.y, n, 1);

            one.q = dr_tensor_rows(p.args.q, n, 1);
            one.k = dr_tensor_rows(p.args.k, p.kv_row[n], 1);
            one.v = dr_tensor_rows(p.args.v, p.kv_row[n], 1);
            one.kv_row = NULL;
            one.y = alone;
            OPERATE(on->device, dr_attention, &one);
            assert_memory_equal(alone.data, row.data, tensor_values(&alone) * sizeof(float));
        }
        free(alone.data);
        free_problem(&p);
    }
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;

    for (dr_isa isa = 0; isa < DR_ISAS; isa++) {
        const shape s = { 2, 130, 200, 3, 40, false, 1, SMALL };
        problem p[2] = { new_problem(&s), new_problem(&s) };
        const int threads[2] = { 1, 3 };

        for (int i = 0; i < 2 && dr_kernels_of(isa); i++) {
            dr_device *device = open_cpu(isa, threads[i]);

            OPERATE(device, dr_attention, &p[i].args);
            dr_device_close(device);
        }
        assert_memory_equal(p[0].y.data, p[1].y.data, tensor_values(&p[0].y) * sizeof(float));
        free_problem(&p[0]);
        free_problem(&p[1]);
    }
}

/* A NaN in the input of one query reaches only the result of that query. */
static void nan_stays_in_its_query(void **state)
{
    const shape s = { 1, 70, 100, 1, 8, false, 1, SMALL };
    const setup *on = *state;
    problem p = new_problem(&s);
    const float *y = p.y.data;

    ((float *)p.q.data)[3 * s.d + 2] = NAN;
    OPERATE(on->device, dr_attention, &p.args);
    for (int i = 0; i < s.tq * s.d; i++)
        assert_int_equal(isnan(y[i]) != 0, i / s.d == 3);
    free_problem(&p);
}

/* With equal keys the result is the mean of the values, whatever the score is. */
static void equal_scores_give_the_mean(void **state)
{
    const shape s = { 1, 20, 300, 1, 4, false, 3e3f, SMALL };
    const setup *on = *state;
    problem p = new_problem(&s);

    for (int j = 0; j < s.tk; j++)
        for (int c = 0; c < s.d; c++)
            ((float *)p.args.k.data)[(size_t)j * (size_t)p.args.k.ld + (size_t)c] = 1.0f;
    p.kv_row[0] = 0;
    OPERATE(on->device, dr_attention, &p.args);
    assert_true(worst_error(&p.args) <= s.tolerance * on->slack);
    free_problem(&p);
}

static int run(const machine *m)
{
    setup on = { m->device, slack_of(m->isa) };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(agrees_with_double, &on),
        cmocka_unit_test_prestate(a_row_alone_has_the_same_bits, &on),
        cmocka_unit_test_prestate(nan_stays_in_its_query, &on),
        cmocka_unit_test_prestate(equal_scores_give_the_mean, &on),
    };

    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest across[] = { cmocka_unit_test(threads_do_not_change_bits) };
    return on_each_machine(run) + cmocka_run_group_tests_name("attention", across, NULL, NULL);
}
