/* PNDM: Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", in diffusers' two
 * ways.
 *
 * A linear multistep method needs older outputs of the UNet, which the first steps do not have.
 * skip_prk_steps says how they do without.  If it is true, by PLMS, the multistep method of lower orders:
 *
 *     times   t0 t1 t1 t2 t3 ...      the second stands twice
 *     call 0  steps with e0 alone, to t0 - stride
 *     call 1  goes back to the latent before call 0 and repeats it with the mean of both outputs
 *     call k  Adams-Bashforth over the outputs of calls k, k - 1, ... without call 1
 *
 *     h0 h1 h2   outputs before this one, newest first
 *     h3         after call 0: the latent before it
 *
 * Else by PRK, which is Runge-Kutta over the first three steps, four calls each, with half = stride / 2:
 *
 *     times   t0 t1+half t1+half t1   t1 t2+half t2+half t2   t2 t3+half t3+half t3   t3 t4 t5 ...
 *     call 0  y = x, the latent that all four start from;  x = y to the middle with e0
 *     call 1  x = y to the middle with e1
 *     call 2  x = y to the end with e2
 *     call 3  x = y to the end with (e0 + 2 e1 + 2 e2 + e3) / 6
 *     call 12 and on: Adams-Bashforth over this output and e0 of the three steps before
 *
 *     h0 h1 h2   e0 of this step and of those before, newest first
 *     h3         after call 0: y;  after 1: e1;  after 2: y to the end with (e0 + 2 e1 + 2 e2) / 6
 *
 * Call 2 needs both y and e1, and h3 has only e1.  It computes y from x = a y + b e1, where a > 0.
 *
 * A run from an image leaves timesteps out, but still begins with call 0.  Then calls 0 and 1 of PLMS are
 * at two different times, call 1 steps from one stride above its own, and so on.  The twelve calls of PRK
 * treat y as if it were as noisy as at t0, t1 and t2, wherever they are, which spoils the picture.  The
 * reference does the same, so this is kept. */
#include "model/schedule.h"

#include <math.h>

enum {
    KEPT = 3, /* h3, which is no output of the UNet */
    PRK_CALLS = 4 * DR_PRK_STEPS,
};

static const double adams_bashforth[4][4] = {
    { 1, 0, 0, 0 },
    { 3 / 2., -1 / 2., 0, 0 },
    { 23 / 12., -16 / 12., 5 / 12., 0 },
    { 55 / 24., -59 / 24., 37 / 24., -9 / 24. },
};

/* The step from one time to another: what of the latent and of the UNet's output makes the new latent. */
static dr_mix step_between(const dr_schedule *t, int before, int after)
{
    const double acp = dr_schedule_acp(t, before), next = dr_schedule_acp(t, after);
    const dr_mix noise = dr_predicted_noise(t->prediction, sqrt(acp), sqrt(1 - acp));
    const double slope = -(next - acp) / (acp * sqrt(1 - next) + sqrt(acp * (1 - acp) * next));

    return (dr_mix){ sqrt(next / acp) + slope * noise.x, slope * noise.e };
}

/* Set x' to the sum of a latent, whose term is `from`, and a combination of outputs: weight[0] of this
 * call's output, and then of h0, h1 and h2. */
static void set_latent(dr_step *s, int from, dr_mix m, const double weight[4])
{
    float *x = s->to[DR_STATE_X];

    x[DR_TERM_E] = (float)(m.e * weight[0]);
    for (int k = 0; k < 3; k++)
        x[DR_TERM_H + k] = (float)(m.e * weight[1 + k]);
    x[from] = (float)m.x;
}

static void push_output(dr_step *s)
{
    s->to[DR_STATE_H][DR_TERM_E] = 1;
    s->to[DR_STATE_H + 1][DR_TERM_H] = 1;
    s->to[DR_STATE_H + 2][DR_TERM_H + 1] = 1;
}

/* --- PLMS ---------------------------------------------------------------------------- */

static int plms_time(const dr_schedule *t, int index)
{
    return (int)t->time[index < 2 ? index : index - 1];
}

static void fill_plms(const dr_schedule *t, dr_step *step)
{
    static const double mean[4] = { 0.5, 0.5, 0, 0 };
    const int stride = t->train_timesteps / t->steps;
    const int calls = dr_calls_pndm(t);

    for (int k = 0; k < calls; k++, step++) {
        const int now = plms_time(t, t->first + k);

        *step = dr_step_at(now, (dr_mix){ 0, 0 }, t->clip);
        if (k == 1) {
            set_latent(step, DR_TERM_H + KEPT, step_between(t, now + stride, now), mean);
            step->to[DR_STATE_H][DR_TERM_H] = 1;
            continue;
        }
        set_latent(step, DR_TERM_X, step_between(t, now, now - stride),
                   adams_bashforth[k < 2   ? 0
                                   : k < 5 ? k - 1
                                           : 3]);
        push_output(step);
        if (k == 0)
            step->to[DR_STATE_H + KEPT][DR_TERM_X] = 1;
    }
}

/* --- PRK ----------------------------------------------------------------------------- */

static int half_stride(const dr_schedule *t)
{
    return t->train_timesteps / t->steps / 2;
}

static int prk_time(const dr_schedule *t, int index)
{
    const int place = (index + 1) / 2; /* in t0, t1+half, t1, t2+half, t2, t3+half, t3 */

    if (index >= PRK_CALLS)
        return (int)t->time[index - PRK_CALLS + DR_PRK_STEPS];
    return (int)t->time[(place + 1) / 2] + (place % 2 ? half_stride(t) : 0);
}

/* The step that call k < PRK_CALLS makes from y. */
static dr_mix prk_move(const dr_schedule *t, int k)
{
    const int now = prk_time(t, t->first + k);

    return step_between(t, (int)t->time[k / 4], k % 2 ? now : now - half_stride(t));
}

static void keep_outputs(dr_step *s)
{
    for (int k = 0; k < KEPT; k++)
        s->to[DR_STATE_H + k][DR_TERM_H + k] = 1;
}

/* From the steps of the call before, of this call and of the call after. */
static void third_call(dr_step *s, dr_mix before, dr_mix m, dr_mix last)
{
    const double y_x = 1 / before.x, y_h = -before.e / before.x; /* y of x and h3 */
    float *x = s->to[DR_STATE_X], *kept = s->to[DR_STATE_H + KEPT];

    x[DR_TERM_X] = (float)(m.x * y_x);
    x[DR_TERM_H + KEPT] = (float)(m.x * y_h);
    x[DR_TERM_E] = (float)m.e;
    kept[DR_TERM_X] = (float)(last.x * y_x);
    kept[DR_TERM_H] = (float)(last.e / 6);
    kept[DR_TERM_H + KEPT] = (float)(last.x * y_h + last.e / 3);
    kept[DR_TERM_E] = (float)(last.e / 3);
}

static void prk_call(const dr_schedule *t, int k, bool is_last, dr_step *s)
{
    const dr_mix m = prk_move(t, k);
    float *kept = s->to[DR_STATE_H + KEPT];

    if (k % 4 == 0) {
        set_latent(s, DR_TERM_X, m, adams_bashforth[0]);
        push_output(s);
        kept[DR_TERM_X] = 1;
        return;
    }
    keep_outputs(s);
    if (k % 4 == 1) {
        set_latent(s, DR_TERM_H + KEPT, m, adams_bashforth[0]);
        kept[DR_TERM_E] = 1;
    } else if (k % 4 == 2) {
        third_call(s, prk_move(t, k - 1), m, is_last ? m : prk_move(t, k + 1));
    } else {
        s->to[DR_STATE_X][DR_TERM_H + KEPT] = 1;
        s->to[DR_STATE_X][DR_TERM_E] = (float)(m.e / 6);
    }
}

static void fill_prk(const dr_schedule *t, dr_step *step)
{
    const int stride = t->train_timesteps / t->steps;
    const int calls = dr_calls_pndm(t);

    for (int k = 0; k < calls; k++, step++) {
        const int now = prk_time(t, t->first + k);

        *step = dr_step_at(now, (dr_mix){ 0, 0 }, t->clip);
        if (k < PRK_CALLS) {
            prk_call(t, k, k + 1 == calls, step);
        } else {
            set_latent(step, DR_TERM_X, step_between(t, now, now - stride), adams_bashforth[3]);
            push_output(step);
        }
    }
}

/* PLMS takes its second time twice.  PRK makes four calls in each of its first steps. */
int dr_calls_pndm(const dr_schedule *t)
{
    const int steps = t->steps - t->first;

    if (t->runge_kutta)
        return steps - DR_PRK_STEPS + PRK_CALLS;
    return t->steps > 1 ? steps + 1 : steps;
}

void dr_fill_pndm(const dr_schedule *t, dr_step *step)
{
    if (t->runge_kutta)
        fill_prk(t, step);
    else
        fill_plms(t, step);
}
