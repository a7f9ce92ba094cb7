/* The linear multistep method of k-diffusion: x' = x + the integral of the polynomial through the last
 * derivatives (x - x0) / sigma.  m is the derivative of this call; h0, h1 and h2 are those of the calls
 * before, newest first.
 *
 * The order of a step counts from the beginning of the whole schedule.  A run from an image has no
 * derivatives of the steps that it leaves out.  The reference leaves their terms out, too; here h is still
 * 0. */
#include "model/schedule.h"

#include <math.h>

/* The integral over [sigma_i, sigma_i+1] of the Lagrange polynomial that is 1 at sigma_(i-j) and 0
 * at the other sigma_(i-k), k < order.  Its degree is at most 3: two Gauss points are exact. */
static double weight(const double *sigma, int i, int order, int j)
{
    const double middle = (sigma[i] + sigma[i + 1]) / 2, half = (sigma[i + 1] - sigma[i]) / 2;
    double sum = 0;

    for (int point = -1; point <= 1; point += 2) {
        const double at = middle + point * half / sqrt(3);
        double product = 1;

        for (int k = 0; k < order; k++)
            if (k != j)
                product *= (at - sigma[i - k]) / (sigma[i - j] - sigma[i - k]);
        sum += product;
    }
    return sum * half;
}

void dr_fill_lms(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const int order = i < 3 ? i + 1 : 4;
        float *x;

        *step = dr_sigma_step_at(t, i, dr_predicted_derivative(t->prediction, t->sigma[i]));
        x = step->to[DR_STATE_X];
        x[DR_TERM_X] = 1;
        x[DR_TERM_M] = (float)weight(t->sigma, i, order, 0);
        for (int j = 1; j < order; j++)
            x[DR_TERM_H + j - 1] = (float)weight(t->sigma, i, order, j);
        step->to[DR_STATE_H][DR_TERM_M] = 1;
        step->to[DR_STATE_H + 1][DR_TERM_H] = 1;
        step->to[DR_STATE_H + 2][DR_TERM_H + 1] = 1;
    }
}
