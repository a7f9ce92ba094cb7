/* vae.h - between pixels and latents: diffusers' AutoencoderKL.
 *
 *     image [n, f h, f w, 3] in -1..1  -- encode -->  moments [n, h, w, mean | log variance]
 *     rgb   [n, f h, f w, 3] near -1..1 <-- decode --  latents [n, h, w, latent_channels]
 *
 * with f = dr_vae_factor().  Rows are independent, so few or many can be decoded at a time, as memory allows.
 *
 * Kingma & Welling 2013; Rombach et al. 2022.
 * Threads: the device's own.  Weights never change once they are loaded. */
#ifndef DR_MODEL_VAE_H
#define DR_MODEL_VAE_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_vae dr_vae;

/* Load the weights; `l` is at the root of the VAE's file.  The caller owns the result.  On failure NULL,
 * and the loader has the error. */
dr_vae *dr_vae_load(const dr_loader *l, const dr_vae_config *config);
void dr_vae_free(dr_vae *vae); /* NULL is allowed */

int dr_vae_factor(const dr_vae *vae); /* pixels of a side for each latent of it: 2^(blocks - 1) */

/* Decode latents [n, h, w, latent_channels], dense, as the sampler leaves them: the division by
 * scaling_factor is done here.  rgb: [n, f h, f w, 3], dense, of the activation dtype; written, and not
 * clamped. */
void dr_vae_decode(dr_pass *p, const dr_vae *vae, dr_tensor latents, dr_tensor rgb);

/* Encode image [n, f h, f w, 3], dense, of the activation dtype.  moments: [n, h, w, 2 * latent_channels];
 * written, after quant_conv and without the multiplication by scaling_factor. */
void dr_vae_encode_moments(dr_pass *p, const dr_vae *vae, dr_tensor image, dr_tensor moments);

#endif
