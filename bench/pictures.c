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
        if (dr_run_picture_and_drop(run, sample[i], rgb + (size_t)i * bytes, &err))
            bench_die("finish", &err);
    checksum = bench_checksum(rgb, (size_t)p->count * bytes);
    free(rgb);
    return checksum;
}

/* Ends those pictures of the previous batch that are ready. all: also waits for the others. */
static void end_pictures(dr_run *run, int *picture, int count, uint8_t *rgb, bool all)
{
    dr_error err;

    for (int i = 0; i < count; i++)
        if (picture[i] >= 0 && (all || dr_run_picture_ready(run, picture[i]))) {
            if (dr_run_end_picture(run, picture[i], rgb, &err))
                bench_die("picture", &err);
            picture[i] = -1;
        }
}

void bench_pictures_stream(const bench_pictures *p, dr_run *run, int batches)
{
    uint8_t *rgb = malloc((size_t)p->side * (size_t)p->side * 3);
    int sample[DR_SAMPLES_MAX], picture[DR_SAMPLES_MAX], under_way = 0;
    dr_error err;

    dr_assert(rgb);
    for (int batch = 0; batch < batches; batch++) {
        for (int i = 0; i < p->count; i++)
            add(p, run, i, &sample[i]);
        for (int step = 0; step < p->steps; step++) {
            if (dr_run_step(run, &err))
                bench_die("step", &err);
            end_pictures(run, picture, under_way, rgb, false);
        }
        end_pictures(run, picture, under_way, rgb, true);
        for (under_way = 0; under_way < p->count; under_way++) {
            if (dr_run_begin_picture(run, sample[under_way], &picture[under_way], &err))
                bench_die("decode", &err);
            dr_run_drop(run, sample[under_way]);
        }
    }
    end_pictures(run, picture, under_way, rgb, true);
    free(rgb);
}
