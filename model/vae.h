/* vae.h - between pixels and latents: diffusers' AutoencoderKL.
 *
 *     image [n, f h, f w, 3] in -1..1  -- encode -->  moments [n, h, w, mean | log variance]
 *     rgb   [n, f h, f w, 3] near -1..1 <-- decode --  latents [n, h, w, latent_channels]
 *
 * with f = dr_vae_factor().  Rows are independent: decode as few at a time as memory asks for.
 * Kingma & Welling 2013; Rombach et al. 2022.  Weights never change once loaded. */
#ifndef DR_MODEL_VAE_H
#define DR_MODEL_VAE_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_vae dr_vae;

/* `l` is the root of the VAE's file.  On failure NULL, and the loader has the error. */
dr_vae *dr_vae_load(const dr_loader *l, const dr_vae_config *config);
void dr_vae_free(dr_vae *vae); /* NULL is allowed */

int dr_vae_factor(const dr_vae *vae); /* pixels per latent: 2^(blocks - 1) */

/* latents: dense, as the sampler leaves them; the division by scaling_factor happens here.
 * rgb: dense, of the activation dtype; not clamped. */
void dr_vae_decode(dr_pass *p, const dr_vae *vae, dr_tensor latents, dr_tensor rgb);

/* image: dense, of the activation dtype, sides multiples of the factor.
 * moments: [n, h, w, 2 * latent_channels], after quant_conv; not yet times scaling_factor. */
void dr_vae_encode_moments(dr_pass *p, const dr_vae *vae, dr_tensor image, dr_tensor moments);

#endif
