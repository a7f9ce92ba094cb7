/* operators.h - the operators that dr_backend needs (ops/backend.h).  Each file has one or a few of them.
 *
 * Each operator is called in both modes.  While p->planning, it takes and releases the scratch that it
 * will need, prepares what the shape needs, and launches nothing.  Afterwards it launches its kernels on
 * the pass' lane and returns at once.  Each fills p->error and returns its status. ops/ops.c has checked
 * the shapes. */
#ifndef DR_OPS_CUDA_OPERATORS_H
#define DR_OPS_CUDA_OPERATORS_H

#include "ops/cuda/cuda.h"

/* linear.c: on success the caller owns *out.  The error begins with desc->name. */
dr_status cuda_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err);
void cuda_linear_free(dr_linear *linear);
dr_status cuda_linear(dr_pass *p, const dr_linear_args *a);

/* conv.c: the same rules as for linear layers. cuda_conv2d_stats() returns the bytes of statistics that
 * the convolution can leave for a->norm_groups. 0: it leaves none. */
dr_status cuda_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err);
void cuda_conv_free(dr_conv *conv);
size_t cuda_conv2d_stats(const dr_conv2d_args *a);
dr_status cuda_conv2d(dr_pass *p, const dr_conv2d_args *a);

/* norm.c, attention.c */
dr_status cuda_group_norm(dr_pass *p, const dr_group_norm_args *a);
dr_status cuda_layer_norm(dr_pass *p, const dr_layer_norm_args *a);
dr_status cuda_attention(dr_pass *p, const dr_attention_args *a);

/* elementwise.c; cuda_concat_stats() is like cuda_conv2d_stats() */
dr_status cuda_geglu(dr_pass *p, const dr_geglu_args *a);
dr_status cuda_activate(dr_pass *p, const dr_activate_args *a);
dr_status cuda_scale(dr_pass *p, const dr_scale_args *a);
size_t cuda_concat_stats(const dr_concat_args *a);
dr_status cuda_concat(dr_pass *p, const dr_concat_args *a);
dr_status cuda_gather(dr_pass *p, const dr_gather_args *a);
dr_status cuda_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a);

/* sampling.c */
dr_status cuda_lookup(dr_pass *p, const dr_lookup_args *a);
dr_status cuda_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a);
dr_status cuda_unet_input(dr_pass *p, const dr_unet_input_args *a);
dr_status cuda_noise(dr_pass *p, const dr_noise_args *a);
dr_status cuda_sampler_step(dr_pass *p, const dr_sampler_step_args *a);

#endif
