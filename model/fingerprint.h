/* fingerprint.h - a model's identity, as 64 hex digits.
 *
 * It is the SHA-256 of what decides the model's pictures: every byte of the folder's configs and tokenizer
 * files, and of each tensor, in the order of names: name, dtype, shape, and the first and last 4 KiB of
 * its bytes.  Reading all weights would take seconds at every start.  Training, merging or converting a
 * model changes every tensor that it touches, so these samples tell models apart.  They do not protect
 * against somebody who makes a second model of the same fingerprint.
 *
 * Moving, sharding or renaming the weight files does not change the fingerprint. */
#ifndef DR_MODEL_FINGERPRINT_H
#define DR_MODEL_FINGERPRINT_H

#include "model/weights.h"

enum { DR_FINGERPRINT_SIZE = 65 }; /* with the terminator */

/* Fingerprint of a folder and the open weights of its parts.  Random weights (dr_weights_open_random())
 * count with the values that they give.  Fails with DR_EIO or DR_ENOMEM; then hex is "".  Any thread may
 * call. */
dr_status dr_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, const dr_weights *text_encoder,
                         const dr_weights *unet, const dr_weights *vae, dr_error *err);

#endif
