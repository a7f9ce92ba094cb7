#include "model/sampler.h"

#include "model/sampler_class.h"
#include "model/schedule.h"

#include <math.h>
#include <stdlib.h>

/* Set the factors of the noise, and of the image if there is one, in the first latent. */
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

/* Some configs ask for a division by zero; the reference then draws NaN.  For example, if a latent is
 * nothing but noise, the predicted noise does not say what x0 is. */
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
                "scheduler config: the sampler %s can't make %d steps with these keys: its step at "
                "timestep %g is not finite (rescale_betas_zero_snr needs prediction_type "
                "\"v_prediction\")",
                t->class->name, t->steps, (double)step->timestep);
    }
    return DR_OK;
}

/* Assert that a step uses only the noise and the history that its class' row names. */
static void check_step(const dr_sampler_class *class, const dr_step *step)
{
    dr_assert(class->draws_noise || !step->noise);
    for (int h = class->history; h < DR_HISTORY_MAX; h++)
        for (int i = 0; i < DR_STATES; i++)
            dr_assert(step->to[i][DR_TERM_H + h] == 0);
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
    t = malloc(sizeof(*t));
    if (!t)
        return dr_fail(err, DR_ENOMEM, "no memory for the times of a schedule");
    rc = dr_schedule_make(t, dr_sampler_class_of(sampler), config, request, err);
    if (rc)
        goto out;
    const int calls = t->class->calls(t);

    dr_assert(calls > 0 && calls <= DR_CALLS_MAX);
    s = calloc(1, sizeof(*s) + (size_t)calls * sizeof(s->step[0]));
    if (!s) {
        rc = dr_fail(err, DR_ENOMEM, "no memory for a step table of %d calls", calls);
        goto out;
    }
    s->calls = calls;
    s->steps = request->steps;
    t->class->fill(t, s->step);
    for (int k = 0; k < calls; k++)
        check_step(t->class, &s->step[k]);
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
