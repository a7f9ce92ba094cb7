/* fingerprint.h - a model's identity, as 64 hex digits.
 *
 * SHA-256 over what decides its pictures: the folder's configs and tokenizer files byte by byte; of each
 * part's tensors, in the order of names, name, dtype, shape and the first and last 4 KiB of its
 * bytes.  Reading all weights would cost seconds at every start; training, merging or converting a
 * model changes every tensor that it touches, so a sample of each tells models apart.  It is no
 * protection against somebody who makes a second model of the same fingerprint.
 *
 * Moving, sharding or renaming the weight files changes nothing. */
#ifndef DR_MODEL_FINGERPRINT_H
#define DR_MODEL_FINGERPRINT_H

#include "model/weights.h"

enum { DR_FINGERPRINT_SIZE = 65 }; /* with the terminator */

/* The weights may be random: then it is of what they give.  On failure hex is "". */
dr_status dr_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, const dr_weights *text_encoder,
                         const dr_weights *unet, const dr_weights *vae, dr_error *err);

#endif
