#include "model/sampler.h"

#include "model/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* diffusers' classes, with the defaults of their constructors. */

#define BETAS(schedule, start, end) .beta_schedule = schedule, .beta_start = start, .beta_end = end
#define DDPM_BETAS BETAS(DR_BETA_LINEAR, 0.0001, 0.02)
#define ALPHA_CLASS .form = DR_NOISE_ALPHA, .spacing = DR_SPACING_LEADING
#define SIGMA_CLASS .form = DR_NOISE_SIGMA, .spacing = DR_SPACING_LINSPACE
#define LAMBDA_CLASS                                                                                        \
    .form = DR_NOISE_LAMBDA, .spacing = DR_SPACING_LINSPACE, .reads_karras = true, .predicts_sample = true, \
    .zero_snr = DR_ZERO_SNR_NEARLY, DDPM_BETAS

static const dr_sampler_class classes[DR_SAMPLERS] = {
    [DR_SAMPLER_DDPM] = { "ddpm", ALPHA_CLASS, DDPM_BETAS, .reads_clip = true, .clip = true,
                          .predicts_sample = true, .zero_snr = DR_ZERO_SNR_EXACT, .fill = dr_fill_ddpm },
    [DR_SAMPLER_DDIM] = { "ddim", ALPHA_CLASS, DDPM_BETAS, .alpha_to_one = true, .reads_clip = true,
                          .clip = true, .predicts_sample = true, .zero_snr = DR_ZERO_SNR_EXACT,
                          .fill = dr_fill_ddim },
    [DR_SAMPLER_PNDM] = { "pndm", ALPHA_CLASS, DDPM_BETAS, .fill = dr_fill_pndm },
    [DR_SAMPLER_EULER] = { "euler", SIGMA_CLASS, DDPM_BETAS, .reads_karras = true, .predicts_sample = true,
                           .zero_snr = DR_ZERO_SNR_NEARLY, .fill = dr_fill_euler },
    [DR_SAMPLER_EULER_A] = { "euler_a", SIGMA_CLASS, DDPM_BETAS, .zero_snr = DR_ZERO_SNR_NEARLY,
                             .fill = dr_fill_euler_a },
    [DR_SAMPLER_HEUN] = { "heun", SIGMA_CLASS, BETAS(DR_BETA_LINEAR, 0.00085, 0.012), .reads_clip = true,
                          .reads_karras = true, .predicts_sample = true, .fill = dr_fill_heun },
    [DR_SAMPLER_DPMPP_2M] = { "dpmpp_2m", LAMBDA_CLASS, .fill = dr_fill_dpmpp_2m },
    [DR_SAMPLER_DPMPP_2M_KARRAS] = { "dpmpp_2m_karras", LAMBDA_CLASS, .fill = dr_fill_dpmpp_2m },
    [DR_SAMPLER_DPMPP_SDE] = { "dpmpp_sde", LAMBDA_CLASS, .fill = dr_fill_dpmpp_sde },
    [DR_SAMPLER_UNIPC] = { "unipc", LAMBDA_CLASS, .fill = dr_fill_unipc },
    [DR_SAMPLER_LMS] = { "lms", SIGMA_CLASS, DDPM_BETAS, .reads_karras = true, .predicts_sample = true,
                         .fill = dr_fill_lms },
    [DR_SAMPLER_LCM] = { "lcm", ALPHA_CLASS, BETAS(DR_BETA_SCALED_LINEAR, 0.00085, 0.012), .reads_clip = true,
                         .predicts_sample = true, .zero_snr = DR_ZERO_SNR_EXACT, .fill = dr_fill_lcm },
};

/* --- names --------------------------------------------------------------------------- */

bool dr_sampler_from_name(const char *name, dr_sampler *out)
{
    *out = DR_SAMPLER_DEFAULT;
    if (!name || !*name)
        return true;
    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++)
        if (!strcmp(classes[i].name, name)) {
            *out = (dr_sampler)i;
            return true;
        }
    return false;
}

const char *dr_sampler_name(dr_sampler sampler)
{
    dr_assert((unsigned)sampler < DR_SAMPLERS);
    return sampler == DR_SAMPLER_DEFAULT ? "default" : classes[sampler].name;
}

const char *dr_sampler_names(void)
{
    return "ddpm, ddim, pndm, euler, euler_a, heun, dpmpp_2m, dpmpp_2m_karras, dpmpp_sde, unipc, lms, lcm";
}

/* --- schedules ----------------------------------------------------------------------- */

/* UNet calls of the run: heun makes two a step, but for the last; pndm takes its second time twice, or makes
 * four in its first steps. */
static int count_calls(const dr_schedule *t)
{
    const int steps = t->steps - t->first;

    if (t->class->fill == dr_fill_heun)
        return 2 * steps - 1;
    if (t->runge_kutta)
        return steps + 3 * DR_PRK_STEPS;
    if (t->class->fill == dr_fill_pndm && t->steps > 1)
        return steps + 1;
    return steps;
}

/* What the noise, and the image if there is one, is multiplied with at the start. */
static void set_start(dr_step_table *s, const dr_schedule *t, bool from_image)
{
    const double sigma = t->sigma[t->first], one = sqrt(sigma * sigma + 1);

    if (t->class->form == DR_NOISE_SIGMA) {
        s->image_scale = from_image;
        s->init_scale = (float)(from_image || t->spacing != DR_SPACING_LEADING ? sigma : one);
    } else if (!from_image) {
        s->image_scale = 0;
        s->init_scale = 1;
    } else if (t->class->form == DR_NOISE_LAMBDA) {
        s->image_scale = (float)(1 / one);
        s->init_scale = (float)(sigma / one);
    } else {
        const double acp = dr_schedule_acp(t, (int)s->step[0].timestep);

        s->image_scale = (float)sqrt(acp);
        s->init_scale = (float)sqrt(1 - acp);
    }
}

/* Some configs ask for a division by zero, and the reference then draws NaN: the noise of a
 * sample that is nothing but noise, for one, does not say what x0 is. */
static dr_status check_finite(const dr_step_table *s, const dr_schedule *t, dr_error *err)
{
    for (int k = 0; k < s->calls; k++) {
        const dr_step *step = &s->step[k];
        bool finite = isfinite(step->m_x) && isfinite(step->m_e) && isfinite(step->input_scale);

        for (int i = 0; i < DR_STATES; i++)
            for (int j = 0; j < DR_TERMS; j++)
                finite = finite && isfinite(step->to[i][j]);
        if (!finite)
            return dr_fail(
                err, DR_EUNSUPPORTED,
                "scheduler config: the sampler %s can't take %d steps with these keys: its step at "
                "timestep %g is not finite (rescale_betas_zero_snr needs prediction_type "
                "\"v_prediction\")",
                t->class->name, t->steps, (double)step->timestep);
    }
    return DR_OK;
}

dr_status dr_sampler_choose(dr_sampler *out, const dr_sampler_config *config, dr_sampler wanted,
                            dr_error *err)
{
    const dr_sampler sampler = wanted == DR_SAMPLER_DEFAULT ? config->own : wanted;
    const dr_error *refused = &config->refused[sampler];

    *out = sampler;
    if (!refused->status)
        return DR_OK;
    if (sampler == DR_SAMPLER_DEFAULT)
        return dr_fail(err, refused->status, "%s: %s", refused->text, dr_sampler_names());
    return dr_fail(err, refused->status, "the sampler %s: %s", dr_sampler_name(sampler), refused->text);
}

dr_status dr_step_table_create(dr_step_table **out, const dr_sampler_config *config,
                               const dr_step_table_request *request, dr_error *err)
{
    dr_step_table *s = NULL;
    dr_sampler sampler;
    dr_schedule *t;
    dr_status rc;

    *out = NULL;
    rc = dr_sampler_choose(&sampler, config, request->sampler, err);
    if (rc)
        return rc;
    dr_assert(sampler > DR_SAMPLER_DEFAULT && sampler < DR_SAMPLERS);
    t = malloc(sizeof(*t));
    if (!t)
        return dr_fail(err, DR_ENOMEM, "no memory for the times of a schedule");
    rc = dr_schedule_make(t, &classes[sampler], sampler, config, request, err);
    if (rc)
        goto out;
    const int calls = count_calls(t);

    dr_assert(calls > 0 && calls <= DR_CALLS_MAX);
    s = calloc(1, sizeof(*s) + (size_t)calls * sizeof(s->step[0]));
    if (!s) {
        rc = dr_fail(err, DR_ENOMEM, "no memory for a step table of %d calls", calls);
        goto out;
    }
    s->calls = calls;
    s->steps = request->steps;
    t->class->fill(t, s->step);
    set_start(s, t, request->image_to_image);
    rc = check_finite(s, t, err);
    if (rc)
        goto out;
    *out = s;
    s = NULL;
out:
    dr_step_table_free(s);
    free(t);
    return rc;
}

void dr_step_table_free(dr_step_table *table)
{
    free(table);
}
