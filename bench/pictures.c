#include "bench/pictures.h"

#include <stdlib.h>
#include <string.h>

dr_run *bench_pictures_open(const bench_pictures *p)
{
    const dr_run_options options = { .width = p->side, .height = p->side, .samples_max = p->count };
    dr_run *run;
    dr_error err;

    if (dr_run_open(&run, p->model, &options, &err))
        bench_die("run", &err);
    return run;
}

static void add(const bench_pictures *p, dr_run *run, int i, int *sample)
{
    static const char *const prompts[8] = { "a red apple", "a dog", "a house on a hill", "the sea at night",
                                            "a green car", "a cat", "an old book",       "a smiling sun" };
    const char *prompt = prompts[i % 8];
    dr_error err;

    if (dr_run_add(run,
                   &(dr_text_to_image){ .prompt = prompt,
                                        .prompt_bytes = strlen(prompt),
                                        .steps = p->steps,
                                        .guidance_scale = p->guidance_scale,
                                        .sampler = DR_SAMPLER_DDIM,
                                        .seed = (uint64_t)i },
                   sample, &err))
        bench_die("add", &err);
}

uint64_t bench_pictures_draw(const bench_pictures *p, dr_run *run)
{
    const size_t bytes = (size_t)p->side * (size_t)p->side * 3;
    uint8_t *rgb = malloc((size_t)p->count * bytes);
    int sample[DR_SAMPLES_MAX];
    uint64_t checksum;
    dr_error err;

    dr_assert(rgb && p->count >= 1 && p->count <= DR_SAMPLES_MAX);
    for (int i = 0; i < p->count; i++)
        add(p, run, i, &sample[i]);
    for (int step = 0; step < p->steps; step++)
        if (dr_run_step(run, &err))
            bench_die("step", &err);
    for (int i = 0; i < p->count; i++)
        if (dr_run_finish(run, sample[i], rgb + (size_t)i * bytes, &err))
            bench_die("finish", &err);
    checksum = bench_checksum(rgb, (size_t)p->count * bytes);
    free(rgb);
    return checksum;
}
