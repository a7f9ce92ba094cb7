/* Heun's method: Karras et al. 2022, algorithm 1 without churn.  A step is two calls:
 *
 *     first    d = (x - x0) / s              x1 = x + d (s' - s)
 *     second   d' = (x1 - x0') / s', at x1   x' = x + (d + d') / 2 (s' - s)
 *
 * The last step, to sigma 0, has only the first call.  m is x0;  h0 = d,  h1 = x. */
#include "model/schedule.h"

static dr_step call_at(const dr_schedule *t, int i)
{
    return dr_sigma_step_at(t, i, dr_predicted_x0_unscaled(t->prediction, t->sigma[i]));
}

static dr_step first_half(const dr_schedule *t, int i)
{
    const double now = t->sigma[i], length = t->sigma[i + 1] - now;
    dr_step s = call_at(t, i);

    s.to[DR_STATE_X][DR_TERM_X] = (float)(1 + length / now);
    s.to[DR_STATE_X][DR_TERM_M] = (float)(-length / now);
    s.to[DR_STATE_H][DR_TERM_X] = (float)(1 / now);
    s.to[DR_STATE_H][DR_TERM_M] = (float)(-1 / now);
    s.to[DR_STATE_H + 1][DR_TERM_X] = 1;
    return s;
}

static dr_step second_half(const dr_schedule *t, int i)
{
    const double next = t->sigma[i + 1], length = next - t->sigma[i];
    dr_step s = call_at(t, i + 1);

    s.to[DR_STATE_X][DR_TERM_H + 1] = 1;
    s.to[DR_STATE_X][DR_TERM_H] = (float)(length / 2);
    s.to[DR_STATE_X][DR_TERM_X] = (float)(length / 2 / next);
    s.to[DR_STATE_X][DR_TERM_M] = (float)(-length / 2 / next);
    return s;
}

int dr_calls_heun(const dr_schedule *t)
{
    return 2 * (t->steps - t->first) - 1;
}

void dr_fill_heun(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++) {
        *step++ = first_half(t, i);
        if (i + 1 < t->steps)
            *step++ = second_half(t, i);
    }
}
