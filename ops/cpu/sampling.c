/* sampling.c - the operators at the ends of a UNet call: they make its input, and do the sampler's step
 * with its output.  All of them are small: a latent has a 48th of its picture's values. */
#include "ops/cpu/cpu.h"

#include "kernels/elementwise.h"
#include "kernels/timestep.h"

#include <math.h>
#include <string.h>

static size_t map_values(const dr_tensor *t)
{
    return (size_t)t->h * (size_t)t->w * (size_t)t->c;
}

dr_status cpu_lookup(dr_pass *p, const dr_lookup_args *a)
{
    const size_t rows = dr_tensor_pixels(&a->y), c = (size_t)a->y.c, w = (size_t)a->y.w;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
    for (size_t i = 0; i < rows; i++) {
        const float *entry = a->table + (size_t)a->index[i] * c;
        const float *position = a->positions ? a->positions + i % w * c : NULL;

        dr_assert(a->index[i] >= 0);
        for (size_t j = 0; j < c; j++) {
            const float value = position ? entry[j] + position[j] : entry[j];

            y[i * c + j] = a->accumulate ? y[i * c + j] + value : value;
        }
    }
    return DR_OK;
}

dr_status cpu_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a)
{
    const int half = a->y.c / 2;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
    for (int n = 0; n < a->y.n; n++, y += a->y.c) {
        float *sine = a->flip_sin_to_cos ? y + half : y;
        float *cosine = a->flip_sin_to_cos ? y : y + half;

        for (int i = 0; i < half; i++) {
            const float phase = a->timestep[n] * dr_timestep_frequency(i, half, a->freq_shift);

            sine[i] = sinf(phase);
            cosine[i] = cosf(phase);
        }
        if (a->y.c % 2)
            y[a->y.c - 1] = 0;
    }
    return DR_OK;
}

static void input_rows(void *arg, size_t begin, size_t end, int thread)
{
    const dr_unet_input_args *a = arg;
    const size_t pixels = (size_t)a->y.h * (size_t)a->y.w;
    const size_t c = (size_t)a->latent.c, e = (size_t)a->extra.c;

    (void)thread;
    for (size_t n = begin; n < end; n++) {
        const float *latent = (const float *)a->latent.data + (size_t)a->sample[n] * pixels * c;
        const float *extra = e ? (const float *)a->extra.data + (size_t)a->sample[n] * pixels * e : NULL;
        float *y = (float *)a->y.data + n * pixels * (c + e);

        for (size_t i = 0; i < pixels; i++, y += c + e) {
            for (size_t j = 0; j < c; j++)
                y[j] = latent[i * c + j] * a->scale[n];
            for (size_t j = 0; j < e; j++)
                y[c + j] = extra[i * e + j];
        }
    }
}

dr_status cpu_unet_input(dr_pass *p, const dr_unet_input_args *a)
{
    dr_unet_input_args args = *a;

    if (!p->planning)
        cpu_for(cpu_of(p->device)->threads, (size_t)a->y.n, cpu_grain(map_values(&a->y)), input_rows, &args);
    return DR_OK;
}

/* torch draws (c, h, w); channels lie last here. */
dr_status cpu_noise(dr_pass *p, const dr_noise_args *a)
{
    const size_t values = map_values(&a->y), c = (size_t)a->y.c, pixels = values / c;
    float *drawn = dr_arena_take(p->arena, values * sizeof(*drawn));

    if (!drawn)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes for noise", values * sizeof(*drawn));
    for (int i = 0; i < a->active && !p->planning; i++) {
        const size_t sample = (size_t)a->sample[i];
        dr_rng *stream = a->stream + 2 * sample;
        float *y = (float *)a->y.data + sample * values;

        if (!a->step[i].noise)
            continue;
        stream[!a->turn[i]] = stream[a->turn[i]];
        dr_rng_randn(&stream[!a->turn[i]], drawn, values);
        for (size_t j = 0; j < values; j++)
            y[j % pixels * c + j / pixels] = drawn[j];
    }
    dr_arena_release(p->arena, drawn);
    return DR_OK;
}

typedef struct step_loop {
    const dr_elementwise_kernels *kernels;
    const dr_sampler_step_args *args;
} step_loop;

static void step_samples(void *arg, size_t begin, size_t end, int thread)
{
    const step_loop *l = arg;
    const dr_sampler_step_args *a = l->args;
    const size_t n = map_values(&a->latent);
    const float *output = a->output.data, *noise = a->noise.data;
    float *latent = a->latent.data, *history = a->history.data;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t s = (size_t)a->sample[i];

        l->kernels->sampler_step(&a->step[i], a->guidance[i], output + (size_t)a->cond_row[i] * n,
                                 output + (size_t)a->uncond_row[i] * n,
                                 a->step[i].noise ? noise + s * n : NULL, latent + s * n,
                                 history + s * DR_HISTORY_MAX * n, n);
    }
}

dr_status cpu_sampler_step(dr_pass *p, const dr_sampler_step_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    step_loop l = { .kernels = cpu->kernels->elementwise, .args = a };

    if (!p->planning)
        cpu_for(cpu->threads, (size_t)a->active, cpu_grain(map_values(&a->latent)), step_samples, &l);
    return DR_OK;
}
