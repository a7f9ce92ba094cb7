/* text_encoder.h - CLIP's text transformer: token ids in, prompt embeddings out.
 *
 *     ids [n, 77] -> token + position -> layers x (causal attention, MLP) -> final norm
 *                                                        prompt_embeds [n, 1, 77, width]
 *
 * Radford et al. 2021, as transformers' CLIPTextModel; both published forms (quick_gelu ViT-L,
 * erf-gelu OpenCLIP-H) differ in their config only.  Weights never change once loaded. */
#ifndef DR_MODEL_TEXT_ENCODER_H
#define DR_MODEL_TEXT_ENCODER_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_text_encoder dr_text_encoder;

/* `l` is the root of the text encoder's file.  On failure NULL, and the loader has the error. */
dr_text_encoder *dr_text_encoder_load(const dr_loader *l, const dr_text_encoder_config *config);
void dr_text_encoder_free(dr_text_encoder *t); /* NULL is allowed */

/* ids: device, [n * 77], each in [0, vocab_size).  The embeddings [n, 1, 77, width] are taken from
 * the pass' arena: the caller releases them. */
dr_tensor dr_text_encoder_forward(dr_pass *p, const dr_text_encoder *t, const int32_t *ids, int n);

#endif
