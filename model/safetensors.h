/* safetensors.h - one safetensors file, open and indexed.
 *
 *     [u64 header length][{"name": {"dtype", "shape", "data_offsets"}, ...}][tensor bytes ...]
 *
 * Checked before anything is read (the format's README, huggingface/safetensors): the header fits the
 * file and its limit, begins with '{' and may end in spaces, holds no key twice; metadata maps
 * strings to strings; every dtype is one of the format's; shape times dtype is the span of the
 * offsets, without overflow; the spans cover all bytes up to the end of the file, without hole or
 * overlap; there are at most DR_TENSORS_MAX of them.  Values are not looked at: a NaN is the model's own.
 *
 * Only model/weights.c uses this.  Does not change once open. */
#ifndef DR_MODEL_SAFETENSORS_H
#define DR_MODEL_SAFETENSORS_H

#include "base/input_file.h"
#include "model/weights.h"

#include <jansson.h>

typedef struct dr_safetensors_entry {
    const char *name; /* in the header */
    const dr_input_file *file;
    dr_weight_info info;
} dr_safetensors_entry;

typedef struct dr_safetensors {
    dr_input_file file;
    json_t *header;
    size_t count;
    dr_safetensors_entry *entries; /* in the order of their bytes */
} dr_safetensors;

/* *out must stay where it is until it is closed.  On failure it is zeroed. */
dr_status dr_safetensors_open(dr_safetensors *out, const char *path, dr_error *err);
void dr_safetensors_close(dr_safetensors *s); /* zeroed and half-open ones are allowed */

#endif
