/* DDPM with the smaller fixed variance: Ho, Jain, Abbeel 2020, equations 6 and 7. */
#include "model/schedule.h"

#include <math.h>

void dr_fill_ddpm(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const int now = (int)t->time[i];
        const double acp = dr_schedule_acp(t, now);
        const double next = i + 1 < t->steps ? dr_schedule_acp(t, (int)t->time[i + 1]) : 1.0;
        const double alpha = acp / next; /* the product over the timesteps that are left out */
        const double variance = (1 - next) / (1 - acp) * (1 - alpha);
        float *x;

        *step = dr_step_at(now, dr_predicted_x0(t->prediction, sqrt(acp), sqrt(1 - acp)), t->clip);
        x = step->to[DR_STATE_X];
        x[DR_TERM_M] = (float)(sqrt(next) * (1 - alpha) / (1 - acp));
        x[DR_TERM_X] = (float)(sqrt(alpha) * (1 - next) / (1 - acp));
        if (now > 0) {
            step->noise = 1;
            x[DR_TERM_NOISE] =
                (float)sqrt(fmax(variance, 1e-20)); /* the reference has this least value, too */
        }
    }
}
