/* DPM-Solver++ of second order, multistep, with data prediction: Lu et al. 2022, algorithm 2.  And its
 * stochastic form, as in diffusers ("sde-dpmsolver++").
 *
 * With lambda = log(alpha / sigma) = -log(s), where s is the sigma of the schedule:
 *
 *     exp(-h) = s' / s      which is 0 at the last step, where h is infinite
 *
 * m is x0, and h0 is the m of the call before. */
#include "model/schedule.h"

#include <math.h>

static void fill(const dr_schedule *t, dr_step *step, bool stochastic)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const double s = t->sigma[i], next = t->sigma[i + 1];
        const double alpha = 1 / sqrt(s * s + 1), alpha_next = 1 / sqrt(next * next + 1);
        const double decay = stochastic ? next * next / (s * s) : next / s;
        const double gain = alpha_next * (1 - decay); /* of m + D / 2 */
        double slope = 0;                             /* D = slope (m - h0) */
        float *x;

        if (t->order > 1 && i > t->first && i + 1 < t->steps)
            slope = log(s / next) / log(t->sigma[i - 1] / s);
        *step = dr_step_at(t->time[i], dr_predicted_x0(t->prediction, alpha, s * alpha), t->clip);
        x = step->to[DR_STATE_X];
        x[DR_TERM_X] = (float)(alpha_next / alpha * decay);
        x[DR_TERM_M] = (float)(gain * (1 + slope / 2));
        x[DR_TERM_H] = (float)(gain * -slope / 2);
        step->to[DR_STATE_H][DR_TERM_M] = 1;
        if (stochastic && next > 0) {
            x[DR_TERM_NOISE] = (float)(next * alpha_next * sqrt(1 - decay));
            step->noise = 1;
        }
    }
}

void dr_fill_dpmpp_2m(const dr_schedule *t, dr_step *step)
{
    fill(t, step, false);
}

void dr_fill_dpmpp_sde(const dr_schedule *t, dr_step *step)
{
    fill(t, step, true);
}
