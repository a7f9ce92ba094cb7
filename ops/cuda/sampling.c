/* sampling.c - the operators at the two ends of a UNet call.  They fill in arguments for our kernels. */
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/operators.h"

dr_status cuda_lookup(dr_pass *p, const dr_lookup_args *a)
{
    if (!p->planning)
        dr_cuda_lookup(cuda_stream(p), &(dr_cuda_lookup_args){ .dtype = a->y.dtype,
                                                               .table = a->table,
                                                               .index = a->index,
                                                               .positions = a->positions,
                                                               .y = a->y.data,
                                                               .tokens = a->y.n * a->y.w,
                                                               .w = a->y.w,
                                                               .c = a->y.c,
                                                               .accumulate = a->accumulate });
    return cuda_launched(p, "a lookup");
}

dr_status cuda_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a)
{
    if (!p->planning)
        dr_cuda_timestep_embedding(cuda_stream(p),
                                   &(dr_cuda_timestep_embedding_args){ .dtype = a->y.dtype,
                                                                       .timestep = a->timestep,
                                                                       .y = a->y.data,
                                                                       .n = a->y.n,
                                                                       .c = a->y.c,
                                                                       .flip_sin_to_cos = a->flip_sin_to_cos,
                                                                       .freq_shift = a->freq_shift });
    return cuda_launched(p, "a timestep embedding");
}

dr_status cuda_unet_input(dr_pass *p, const dr_unet_input_args *a)
{
    if (!p->planning)
        dr_cuda_unet_input(cuda_stream(p), &(dr_cuda_unet_input_args){ .dtype = a->y.dtype,
                                                                       .latent = a->latent.data,
                                                                       .extra = a->extra.data,
                                                                       .sample = a->sample,
                                                                       .scale = a->scale,
                                                                       .y = a->y.data,
                                                                       .n = a->y.n,
                                                                       .pixels = a->y.h * a->y.w,
                                                                       .c = a->latent.c,
                                                                       .extra_c = a->y.c - a->latent.c });
    return cuda_launched(p, "the UNet's input");
}

dr_status cuda_noise(dr_pass *p, const dr_noise_args *a)
{
    dr_cuda_noise_args k = { .step = a->step,
                             .sample = a->sample,
                             .turn = a->turn,
                             .stream = a->stream,
                             .y = a->y.data,
                             .active = a->active,
                             .pixels = a->y.h * a->y.w,
                             .c = a->y.c };
    const size_t bytes = dr_cuda_noise_workspace(&k);

    k.words = bytes ? dr_arena_take(p->arena, bytes) : NULL;
    if (bytes && !k.words)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes for the noise's random words", bytes);
    if (!p->planning)
        dr_cuda_noise(cuda_stream(p), &k);
    if (bytes)
        dr_arena_release(p->arena, k.words);
    return cuda_launched(p, "noise");
}

dr_status cuda_sampler_step(dr_pass *p, const dr_sampler_step_args *a)
{
    if (!p->planning)
        dr_cuda_sampler_step(cuda_stream(p), &(dr_cuda_sampler_step_args){
                                                 .dtype = a->output.dtype,
                                                 .output = a->output.data,
                                                 .sample = a->sample,
                                                 .cond_row = a->cond_row,
                                                 .uncond_row = a->uncond_row,
                                                 .guidance = a->guidance,
                                                 .step = a->step,
                                                 .latent = a->latent.data,
                                                 .history = a->history.data,
                                                 .noise = a->noise.data,
                                                 .active = a->active,
                                                 .values = a->latent.h * a->latent.w * a->latent.c });
    return cuda_launched(p, "a sampler step");
}
