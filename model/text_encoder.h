/* text_encoder.h - CLIP's text transformer: token ids in, prompt embeddings out.
 *
 *     ids [n, 77] -> token + position -> layers x (causal attention, MLP) -> final norm
 *                                                        prompt_embeds [n, 1, 77, width]
 *
 * Radford et al. 2021, as transformers' CLIPTextModel computes it.  The two published forms (quick_gelu
 * ViT-L, erf-gelu OpenCLIP-H) differ only in their config.
 *
 * Threads: the device's own.  Weights never change once they are loaded. */
#ifndef DR_MODEL_TEXT_ENCODER_H
#define DR_MODEL_TEXT_ENCODER_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_text_encoder dr_text_encoder;

/* Load the weights; `l` is at the root of the text encoder's file.  The caller owns the result.  On
 * failure NULL, and the loader has the error. */
dr_text_encoder *dr_text_encoder_load(const dr_loader *l, const dr_text_encoder_config *config);
void dr_text_encoder_free(dr_text_encoder *t); /* NULL is allowed */

/* ids: on the device, [n, 77], each in [0, vocab_size).  Returns embeddings [n, 1, 77, width] from the
 * pass' arena, which the caller releases. */
dr_tensor dr_text_encoder_forward(dr_pass *p, const dr_text_encoder *t, const int32_t *ids, int n);

#endif
