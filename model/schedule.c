#include "model/schedule.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* --- training noise ------------------------------------------------------------------ */

/* torch.linspace in float32, which counts from the nearer end. */
static float linspace_f32(float first, float last, int count, int i)
{
    const float step = (last - first) / (float)(count - 1);

    return i < count / 2 ? fmaf((float)i, step, first) : fmaf((float)-(count - 1 - i), step, last);
}

/* Nichol & Dhariwal 2021, with their upper limit of 0.999 */
static float cosine_beta(int i, int count)
{
    const double now = cos(((double)i / count + 0.008) / 1.008 * M_PI / 2);
    const double next = cos(((double)(i + 1) / count + 0.008) / 1.008 * M_PI / 2);

    return (float)fmin(1 - next * next / (now * now), 0.999);
}

static void make_betas(float *beta, int count, int schedule, double start, double end)
{
    for (int i = 0; i < count; i++) {
        if (schedule == DR_BETA_COSINE) {
            beta[i] = cosine_beta(i, count);
        } else if (schedule == DR_BETA_LINEAR) {
            beta[i] = linspace_f32((float)start, (float)end, count, i);
        } else {
            const float root = linspace_f32((float)sqrt(start), (float)sqrt(end), count, i);

            beta[i] = root * root;
        }
    }
}

/* The product of 1 - beta, in place; torch accumulates in double. */
static void accumulate(float *beta, int count)
{
    double product = 1.0;

    for (int i = 0; i < count; i++) {
        product *= 1.0f - beta[i];
        beta[i] = (float)product;
    }
}

/* Algorithm 1 of Lin et al. 2023: sqrt(acp) is shifted so that it ends at 0, and scaled so that it begins
 * as before.  Like the reference it then goes back to betas and multiplies again, because float32 makes a
 * difference there. */
static void rescale_to_zero_snr(float *acp, int count)
{
    const float first = sqrtf(acp[0]), last = sqrtf(acp[count - 1]);
    const float scale = first / (first - last);
    float before = 1.0f;

    for (int i = 0; i < count; i++) {
        const float root = (sqrtf(acp[i]) - last) * scale;
        const float share = root * root;

        acp[i] = 1.0f - share / before;
        before = share;
    }
    accumulate(acp, count);
}

static void make_training_noise(dr_schedule *t, const dr_sampler_config *config)
{
    const dr_sampler_class *c = t->class;
    const int count = t->train_timesteps;

    t->beta_schedule = config->has_betas ? (int)config->beta_schedule : c->beta_schedule;
    make_betas(t->acp, count, t->beta_schedule, config->has_betas ? config->beta_start : c->beta_start,
               config->has_betas ? config->beta_end : c->beta_end);
    accumulate(t->acp, count);
    if (config->rescale_betas_zero_snr && c->zero_snr != DR_ZERO_SNR_IGNORED) {
        rescale_to_zero_snr(t->acp, count);
        if (c->zero_snr == DR_ZERO_SNR_NEARLY)
            t->acp[count - 1] = 0x1p-24f;
    }
    for (int i = 0; i < count; i++)
        t->train_sigma[i] = sqrtf((1.0f - t->acp[i]) / t->acp[i]);
}

double dr_schedule_acp(const dr_schedule *t, int timestep)
{
    dr_assert(timestep < t->train_timesteps);
    return timestep < 0 ? t->acp_final : t->acp[timestep];
}

/* --- times --------------------------------------------------------------------------- */

/* numpy.linspace(0, last, count)[i] */
static double linspace(double last, int count, int i)
{
    if (count == 1)
        return 0.0;
    return i == count - 1 ? last : i * (last / (count - 1));
}

/* numpy.arange(T, 0, -T/n), which adds multiples of the difference of its first two values; how that is
 * rounded decides ties.  For a few n (61, 103, 121, 122) numpy gives one value more, a rounding error
 * above 0; here there are n. */
static double trailing_time(int train, int steps, int i)
{
    const double difference = (train - (double)train / steps) - train;

    return rint(train + i * difference) - 1;
}

double dr_time_by_spacing(const dr_schedule *t, int i)
{
    const int up = t->steps - 1 - i;                    /* counted from the least noisy step */
    const int skip = t->class->form == DR_NOISE_LAMBDA; /* how many timesteps are left out at the end */
    const int count = t->steps + skip;
    double time;

    switch (t->spacing) {
    case DR_SPACING_LEADING:
        return (up + skip) * (t->train_timesteps / count) + (double)t->steps_offset;
    case DR_SPACING_TRAILING:
        return trailing_time(t->train_timesteps, t->steps, i);
    default:
        time = linspace(t->train_timesteps - 1, count, up + skip);
        return t->class->form == DR_NOISE_SIGMA ? (float)time : rint(time);
    }
}

/* --- noise levels -------------------------------------------------------------------- */

/* The sigma of a fractional timestep: numpy.interp over the whole timesteps. */
static double sigma_at(const dr_schedule *t, double time)
{
    const int low = (int)time;

    if (time <= 0)
        return t->train_sigma[0];
    if (low >= t->train_timesteps - 1)
        return t->train_sigma[t->train_timesteps - 1];
    return ((double)t->train_sigma[low + 1] - t->train_sigma[low]) * (time - low) + t->train_sigma[low];
}

/* The timestep of a sigma: the inverse, linear in log sigma. */
static double time_at(const dr_schedule *t, double sigma)
{
    const double wanted = log(fmax(sigma, 1e-10));
    int low = 0, high = t->train_timesteps - 1;
    double weight;

    while (high - low > 1) { /* train_sigma[low] <= sigma < train_sigma[high], except at the ends */
        const int middle = (low + high) / 2;

        if (logf(t->train_sigma[middle]) <= wanted)
            low = middle;
        else
            high = middle;
    }
    const double below = logf(t->train_sigma[low]), above = logf(t->train_sigma[high]);

    weight = fmin(fmax((below - wanted) / (below - above), 0.0), 1.0);
    return (1 - weight) * low + weight * high;
}

static double to_float(double x)
{
    return (float)x;
}

/* Karras et al. 2022, equation 5, between `most` and `least`. */
static void respace_by_karras(dr_schedule *t, double most, double least, double (*rounded)(double))
{
    const double rho = 7, from = pow(most, 1 / rho), to = pow(least, 1 / rho);

    for (int i = 0; i < t->steps; i++) {
        t->sigma[i] = pow(from + linspace(1, t->steps, i) * (to - from), rho);
        t->time[i] = rounded(time_at(t, t->sigma[i]));
    }
}

static void make_sigmas(dr_schedule *t)
{
    const bool truncates = t->beta_schedule == DR_BETA_COSINE && t->class->truncates_karras_times;

    for (int i = 0; i < t->steps; i++)
        t->sigma[i] = sigma_at(t, t->time[i]);
    if (t->karras && t->class->form == DR_NOISE_LAMBDA)
        respace_by_karras(t, t->train_sigma[t->train_timesteps - 1], t->train_sigma[0],
                          truncates ? trunc : rint);
    else if (t->karras)
        respace_by_karras(t, t->sigma[0], t->sigma[t->steps - 1], to_float);
    for (int i = 0; i < t->steps; i++)
        t->sigma[i] = (float)t->sigma[i];
    t->sigma[t->steps] = 0;
}

/* The classes that read lambda_min_clipped leave out every time with more noise than exp(-lambda_min).  We
 * do not, so no time may have so much. */
static dr_status check_lambda_min(const dr_schedule *t, const dr_sampler_config *config, dr_error *err)
{
    const double least = -log(t->train_sigma[t->train_timesteps - 1]);

    if (!t->class->reads_lambda_min || !config->has_lambda_min || config->lambda_min <= least)
        return DR_OK;
    return dr_fail(err, DR_EUNSUPPORTED,
                   "scheduler config: lambda_min_clipped %g: with this noise at most %g is supported",
                   config->lambda_min, least);
}

static dr_status make_times(dr_schedule *t, dr_error *err)
{
    for (int i = 0; i < t->steps; i++) {
        t->time[i] = t->class->time(t, i);
        if (t->time[i] < 0 || t->time[i] > t->train_timesteps - 1)
            return dr_fail(
                err, DR_EUNSUPPORTED,
                "scheduler config: steps_offset %d: %d steps would need timestep %.0f, and the model has %d",
                t->steps_offset, t->steps, t->time[i], t->train_timesteps);
    }
    if (t->class->form != DR_NOISE_ALPHA)
        make_sigmas(t);
    return DR_OK;
}

/* --- the config ---------------------------------------------------------------------- */

/* Read the keys as this class does, and then as diffusers' pipeline for the task overrules them. */
static void read_keys(dr_schedule *t, const dr_sampler_config *config, dr_task task)
{
    const dr_sampler_class *c = t->class;
    const bool draws = task == DR_TASK_TEXT_TO_IMAGE || task == DR_TASK_IMAGE_TO_IMAGE;
    const bool clip = config->has_clip_sample ? config->clip_sample : c->clip;
    const bool to_one = config->has_set_alpha_to_one ? config->set_alpha_to_one : c->alpha_to_one;

    t->prediction = config->prediction;
    t->spacing = config->has_spacing ? (int)config->spacing : c->spacing;
    t->steps_offset = config->has_steps_offset ? config->steps_offset : 0;
    if (task != DR_TASK_UPSCALE)
        t->steps_offset = 1;
    t->clip = c->reads_clip && clip && !draws ? config->clip_sample_range : FLT_MAX;
    t->runge_kutta = c->reads_skip_prk_steps && !(config->has_skip_prk_steps && config->skip_prk_steps) &&
                     task != DR_TASK_INPAINT;
    t->order = config->has_solver_order ? config->solver_order : 2;
    t->karras =
        c->always_karras || (c->reads_karras && config->has_use_karras_sigmas && config->use_karras_sigmas);
    t->train_timesteps = config->train_timesteps;
    make_training_noise(t, config);
    t->acp_final = to_one ? 1.0 : t->acp[0];
}

static dr_status check_config(const dr_sampler_class *c, const dr_sampler_config *config, dr_error *err)
{
    if (config->train_timesteps < 2 || config->train_timesteps > DR_TRAIN_TIMESTEPS_MAX)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "scheduler config: num_train_timesteps %d: 2 to %d are supported",
                       config->train_timesteps, DR_TRAIN_TIMESTEPS_MAX);
    if (config->prediction == DR_PREDICT_SAMPLE && !c->predicts_sample)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "scheduler config: prediction_type \"sample\" is not supported by the sampler %s",
                       c->name);
    if (c->form == DR_NOISE_LAMBDA && config->has_solver_order &&
        (config->solver_order < 1 || config->solver_order > 2))
        return dr_fail(err, DR_EUNSUPPORTED, "scheduler config: solver_order %d: 1 and 2 are supported",
                       config->solver_order);
    if (config->train_timesteps < c->train_timesteps_min)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "scheduler config: num_train_timesteps %d: the sampler %s needs %d or more",
                       config->train_timesteps, c->name, c->train_timesteps_min);
    return DR_OK;
}

static dr_status check_request(const dr_sampler_class *c, int train, const dr_step_table_request *request,
                               dr_error *err)
{
    int most = train < DR_STEPS_MAX ? train : DR_STEPS_MAX;

    if (c->steps_max > 0)
        most = c->steps_max;
    if (request->steps < 1 || request->steps > most)
        return dr_fail(err, DR_EINVAL, "steps %d: the sampler %s takes 1 to %d", request->steps, c->name,
                       most);
    if (!request->image_to_image)
        return DR_OK;
    if (!(request->strength > 0 && request->strength <= 1))
        return dr_fail(err, DR_EINVAL, "strength %g: must be above 0 and at most 1", request->strength);
    if ((int)(request->steps * request->strength) < 1)
        return dr_fail(err, DR_EINVAL, "strength %g of %d steps leaves no step", request->strength,
                       request->steps);
    return DR_OK;
}

dr_status dr_schedule_make(dr_schedule *t, const dr_sampler_class *class, const dr_sampler_config *config,
                           const dr_step_table_request *request, dr_error *err)
{
    dr_status rc = check_config(class, config, err);

    if (!rc)
        rc = check_request(class, config->train_timesteps, request, err);
    if (rc)
        return rc;
    memset(t, 0, sizeof(*t));
    t->class = class;
    t->steps = request->steps;
    if (request->image_to_image)
        t->first = request->steps - (int)(request->steps * request->strength);
    read_keys(t, config, request->task);
    if (t->runge_kutta && t->steps <= DR_PRK_STEPS) /* the reference fails there */
        return dr_fail(
            err, DR_EINVAL,
            "steps %d: the sampler pndm needs %d or more with this model, because its scheduler config does "
            "not have \"skip_prk_steps\": true",
            t->steps, DR_PRK_STEPS + 1);
    rc = check_lambda_min(t, config, err);
    return rc ? rc : make_times(t, err);
}

int dr_calls_one_a_step(const dr_schedule *t)
{
    return t->steps - t->first;
}

/* --- parts of steps ------------------------------------------------------------------ */

dr_mix dr_predicted_x0(dr_prediction prediction, double alpha, double sigma)
{
    switch (prediction) {
    case DR_PREDICT_V: /* v = alpha noise - sigma x0 (Salimans & Ho 2022) */
        return (dr_mix){ alpha, -sigma };
    case DR_PREDICT_SAMPLE:
        return (dr_mix){ 0, 1 };
    default:
        return (dr_mix){ 1 / alpha, -sigma / alpha };
    }
}

dr_mix dr_predicted_noise(dr_prediction prediction, double alpha, double sigma)
{
    switch (prediction) {
    case DR_PREDICT_V:
        return (dr_mix){ sigma, alpha };
    case DR_PREDICT_SAMPLE:
        return (dr_mix){ 1 / sigma, -alpha / sigma };
    default:
        return (dr_mix){ 0, 1 };
    }
}

dr_mix dr_predicted_x0_unscaled(dr_prediction prediction, double sigma)
{
    const double alpha = 1 / sqrt(sigma * sigma + 1);
    const dr_mix scaled = dr_predicted_x0(prediction, alpha, sigma * alpha);

    return (dr_mix){ scaled.x * alpha, scaled.e };
}

dr_mix dr_predicted_derivative(dr_prediction prediction, double sigma)
{
    const double alpha = 1 / sqrt(sigma * sigma + 1);
    const dr_mix scaled = dr_predicted_noise(prediction, alpha, sigma * alpha);

    return (dr_mix){ scaled.x * alpha, scaled.e };
}

dr_step dr_step_at(double timestep, dr_mix m, float clip)
{
    return (dr_step){
        .timestep = (float)timestep,
        .input_scale = 1,
        .m_x = (float)m.x,
        .m_e = (float)m.e,
        .clip = clip,
    };
}

dr_step dr_sigma_step_at(const dr_schedule *t, int i, dr_mix m)
{
    dr_step s = dr_step_at(t->time[i], m, t->clip);

    s.input_scale = (float)(1 / sqrt(t->sigma[i] * t->sigma[i] + 1));
    return s;
}
