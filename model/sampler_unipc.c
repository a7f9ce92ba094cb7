/* UniPC of order 2 with B(h) = exp(-h) - 1, data prediction: Zhao et al. 2023, algorithms 5 and 7.
 *
 * The UNet's output at a latent helps to correct this very latent.  So a call first corrects its latent,
 * and then predicts the next latent from the corrected one.
 *
 *     m    x0 at the uncorrected latent
 *     h0   the corrected latent of the call before
 *     h1   its m,  h2 the m before that */
#include "model/schedule.h"

#include <math.h>

typedef struct terms {
    double of[DR_TERMS];
} terms;

typedef struct interval {
    double alpha, ratio; /* alpha at its end; sigma at its end over sigma at its begin */
    double b;            /* B(h) */
    double minus_h;      /* -infinity where it ends at sigma 0 */
} interval;

static interval from_to(const dr_schedule *t, int i, int j)
{
    const double s = t->sigma[i], next = t->sigma[j];
    const double alpha = 1 / sqrt(s * s + 1), alpha_next = 1 / sqrt(next * next + 1);

    return (interval){ alpha_next, next * alpha_next / (s * alpha), next / s - 1, log(next / s) };
}

/* (lambda_i-1 - lambda_i) / h of the interval */
static double ratio_to_interval_before(const dr_schedule *t, int i, interval v)
{
    return log(t->sigma[i] / t->sigma[i - 1]) / -v.minus_h;
}

/* Order of the step from i: as high as the number of calls before allows, and 1 at the end of the
 * schedule. */
static int order_of(const dr_schedule *t, int i)
{
    const int left = t->steps - i, past = i - t->first + 1;
    int order = t->order;

    if (order > left)
        order = left;
    return order < past ? order : past;
}

/* The corrected latent at sigma_i, from the latent at i - 1 and the m of both. */
static terms corrected(const dr_schedule *t, int i)
{
    const interval v = from_to(t, i - 1, i);
    const double q = v.b / v.minus_h - 1;
    double rho_past = 0, rho_now = 0.5, r = 1;
    terms x = { { 0 } };

    if (order_of(t, i - 1) == 2) {
        const double b1 = q / v.b, b2 = 2 * (q / v.minus_h - 0.5) / v.b;

        r = ratio_to_interval_before(t, i - 1, v);
        rho_past = (b1 - b2) / (1 - r);
        rho_now = b1 - rho_past;
    }
    x.of[DR_TERM_H] = v.ratio;
    x.of[DR_TERM_M] = -v.alpha * v.b * rho_now;
    x.of[DR_TERM_H + 2] = -v.alpha * v.b * rho_past / r;
    x.of[DR_TERM_H + 1] = -v.alpha * v.b * (1 - rho_now - rho_past / r);
    return x;
}

static terms predicted(const dr_schedule *t, int i, terms x)
{
    const interval v = from_to(t, i, i + 1);
    const double slope = order_of(t, i) == 2 ? 0.5 / ratio_to_interval_before(t, i, v) : 0; /* of h1 - m */

    for (int k = 0; k < DR_TERMS; k++)
        x.of[k] *= v.ratio;
    x.of[DR_TERM_M] -= v.alpha * v.b * (1 - slope);
    x.of[DR_TERM_H + 1] -= v.alpha * v.b * slope;
    return x;
}

static void set_row(dr_step *s, int state, terms row)
{
    for (int k = 0; k < DR_TERMS; k++)
        s->to[state][k] = (float)row.of[k];
}

void dr_fill_unipc(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const double s = t->sigma[i], alpha = 1 / sqrt(s * s + 1);
        const terms as_it_is = { { [DR_TERM_X] = 1 } };
        const terms x = i > t->first ? corrected(t, i) : as_it_is;

        *step = dr_step_at(t->time[i], dr_predicted_x0(t->prediction, alpha, s * alpha), t->clip);
        set_row(step, DR_STATE_X, predicted(t, i, x));
        set_row(step, DR_STATE_H, x);
        step->to[DR_STATE_H + 1][DR_TERM_M] = 1;
        step->to[DR_STATE_H + 2][DR_TERM_H + 1] = 1;
    }
}
