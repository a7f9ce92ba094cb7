/* Euler, and ancestral Euler, on dx/dsigma = (x - x0) / sigma: Karras et al. 2022, equation 4;
 * the split of ancestral noise is k-diffusion's. */
#include "model/schedule.h"

#include <math.h>

/* One combination of x and e, because sigma may be 4096, and x as large: a difference of two such values
 * would be inexact. */
static dr_step step_along(const dr_schedule *t, int i, double sigma_next)
{
    const dr_mix derivative = dr_predicted_derivative(t->prediction, t->sigma[i]);
    const double length = sigma_next - t->sigma[i];
    dr_step s = dr_sigma_step_at(t, i, (dr_mix){ 0, 0 });

    s.to[DR_STATE_X][DR_TERM_X] = (float)(1 + length * derivative.x);
    s.to[DR_STATE_X][DR_TERM_E] = (float)(length * derivative.e);
    return s;
}

void dr_fill_euler(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++)
        *step = step_along(t, i, t->sigma[i + 1]);
}

void dr_fill_euler_a(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const double now = t->sigma[i], next = t->sigma[i + 1];
        const double down = next * next / now; /* down^2 + up^2 = next^2 */
        const double up = sqrt(next * next - down * down);

        *step = step_along(t, i, down);
        step->to[DR_STATE_X][DR_TERM_NOISE] = (float)up;
        step->noise = next > 0;
    }
}
