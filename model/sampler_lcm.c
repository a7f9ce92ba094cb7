/* Latent consistency models: Luo et al. 2023, algorithm 3 with equation 9's c_skip and c_out. */
#include "model/schedule.h"

#include <math.h>

/* The model was distilled with DR_LCM_TRAIN_STEPS times.  The times of a schedule are taken from these. */
double dr_time_lcm(const dr_schedule *t, int i)
{
    const int from = (int)floor(i * ((double)DR_LCM_TRAIN_STEPS / t->steps));

    return (DR_LCM_TRAIN_STEPS - from) * (t->train_timesteps / DR_LCM_TRAIN_STEPS) - 1;
}

void dr_fill_lcm(const dr_schedule *t, dr_step *step)
{
    for (int i = t->first; i < t->steps; i++, step++) {
        const int now = (int)t->time[i];
        const bool last = i + 1 == t->steps;
        const double acp = dr_schedule_acp(t, now);
        const double next = last ? 1.0 : dr_schedule_acp(t, (int)t->time[i + 1]);
        const double scaled = 10.0 * now, data = 0.5; /* timestep_scaling; the data's deviation */
        const double c_skip = data * data / (scaled * scaled + data * data);
        const double c_out = scaled / sqrt(scaled * scaled + data * data);
        float *x;

        *step = dr_step_at(now, dr_predicted_x0(t->prediction, sqrt(acp), sqrt(1 - acp)), t->clip);
        x = step->to[DR_STATE_X];
        x[DR_TERM_M] = (float)(sqrt(next) * c_out);
        x[DR_TERM_X] = (float)(sqrt(next) * c_skip);
        x[DR_TERM_NOISE] = (float)sqrt(1 - next);
        step->noise = !last;
    }
}
