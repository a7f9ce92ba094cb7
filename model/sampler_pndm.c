/* PNDM's linear multistep method: Liu et al. 2022, as diffusers starts it with PLMS.
 *
 *     times   t0 t1 t1 t2 t3 ...      the second stands twice
 *     call 0  steps with e0 alone, to t0 - stride
 *     call 1  goes back to the latent before call 0 and repeats it with the mean of both outputs
 *     call k  Adams-Bashforth over the outputs of calls k, k - 1, ... without call 1
 *
 * A run that starts inside the schedule still begins with call 0.  Calls 0 and 1 then are at two different
 * times, call 1 steps from one stride above its own, and so on: the reference's way, kept.
 *
 *     h0 h1 h2   outputs before this one, newest first
 *     h3         after call 0: the latent before it */
#include "model/schedule.h"

#include <math.h>

enum { BACK = 3 }; /* which h keeps the latent */

static const double adams_bashforth[4][4] = {
    { 1, 0, 0, 0 },
    { 3 / 2., -1 / 2., 0, 0 },
    { 23 / 12., -16 / 12., 5 / 12., 0 },
    { 55 / 24., -59 / 24., 37 / 24., -9 / 24. },
};

static int time_of_call(const dr_timeline *t, int index)
{
    return (int)t->time[index < 2 ? index : index - 1];
}

/* x' from one latent (`from` names its term) and a combination of outputs: `weight` of this
 * call's and of h0.. in order. */
static void move(const dr_timeline *t, dr_step *s, int from, int before, int after, const double weight[4])
{
    const double acp = dr_timeline_acp(t, before), next = dr_timeline_acp(t, after);
    const dr_mix noise = dr_predicted_noise(t->prediction, sqrt(acp), sqrt(1 - acp));
    const double slope = -(next - acp) / (acp * sqrt(1 - next) + sqrt(acp * (1 - acp) * next));
    float *x = s->to[DR_STATE_X];

    x[DR_TERM_E] = (float)(slope * noise.e * weight[0]);
    for (int k = 0; k < 3; k++)
        x[DR_TERM_H + k] = (float)(slope * noise.e * weight[1 + k]);
    x[from] = (float)(sqrt(next / acp) + slope * noise.x);
}

static void keep_output(dr_step *s)
{
    s->to[DR_STATE_H][DR_TERM_E] = 1;
    s->to[DR_STATE_H + 1][DR_TERM_H] = 1;
    s->to[DR_STATE_H + 2][DR_TERM_H + 1] = 1;
}

void dr_fill_pndm(const dr_timeline *t, dr_step *step)
{
    static const double mean[4] = { 0.5, 0.5, 0, 0 };
    const int stride = t->train_timesteps / t->steps;
    const int calls = t->steps > 1 ? t->steps + 1 - t->first : 1;

    for (int k = 0; k < calls; k++, step++) {
        const int now = time_of_call(t, t->first + k);

        *step = dr_step_at(now, (dr_mix){ 0, 0 }, t->clip);
        if (k == 1) {
            move(t, step, DR_TERM_H + BACK, now + stride, now, mean);
            step->to[DR_STATE_H][DR_TERM_H] = 1;
            continue;
        }
        move(t, step, DR_TERM_X, now, now - stride, adams_bashforth[k < 2 ? 0 : k < 5 ? k - 1 : 3]);
        keep_output(step);
        if (k == 0)
            step->to[DR_STATE_H + BACK][DR_TERM_X] = 1;
    }
}
