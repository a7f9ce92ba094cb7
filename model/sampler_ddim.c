/* DDIM without noise (eta 0): Song, Meng, Ermon 2021, equation 12. */
#include "model/schedule.h"

#include <math.h>

void dr_fill_ddim(const dr_schedule *t, dr_step *step)
{
    const int stride = t->train_timesteps / t->steps;

    for (int i = t->first; i < t->steps; i++, step++) {
        const int now = (int)t->time[i];
        const double acp = dr_schedule_acp(t, now), next = dr_schedule_acp(t, now - stride);
        const dr_mix x0 = dr_predicted_x0(t->prediction, sqrt(acp), sqrt(1 - acp));
        const dr_mix noise = dr_predicted_noise(t->prediction, sqrt(acp), sqrt(1 - acp));
        float *x;

        *step = dr_step_at(now, x0, t->clip);
        x = step->to[DR_STATE_X];
        x[DR_TERM_M] = (float)sqrt(next);
        x[DR_TERM_X] = (float)(sqrt(1 - next) * noise.x);
        x[DR_TERM_E] = (float)(sqrt(1 - next) * noise.e);
    }
}
