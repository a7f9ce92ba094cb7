/* safetensors.h - one safetensors file, open and indexed.
 *
 *     [u64 header length][{"name": {"dtype", "shape", "data_offsets"}, ...}][tensor bytes ...]
 *
 * These rules of the format (README of huggingface/safetensors) are checked before any tensor is read:
 *
 *     - the header fits into the file and into its limit, and begins with '{'; it may end in spaces
 *     - the header has no key twice
 *     - metadata maps strings to strings
 *     - every dtype is one of the format's
 *     - shape times dtype is the span of the offsets, without overflow
 *     - the spans cover all bytes up to the end of the file, without hole or overlap
 *     - there are at most DR_TENSORS_MAX tensors
 *
 * Values are not checked: a NaN in a weight is read as it is.
 *
 * Only model/weights.c uses this.  Threads: a file does not change once it is open, so any thread may read
 * it. */
#ifndef DR_MODEL_SAFETENSORS_H
#define DR_MODEL_SAFETENSORS_H

#include "base/input_file.h"
#include "model/weights.h"

#include <jansson.h>

typedef struct dr_safetensors_entry {
    const char *name;          /* borrowed from the header */
    const dr_input_file *file; /* borrowed from the dr_safetensors */
    dr_weight_info info;
} dr_safetensors_entry;

typedef struct dr_safetensors {
    dr_input_file file;
    json_t *header;
    size_t count;
    dr_safetensors_entry *entries; /* in the order of their bytes */
} dr_safetensors;

/* Open a file and check it.  *out must not be moved until it is closed, because its entries point into
 * it.  On failure *out is zeroed.  DR_EFORMAT: a rule above is broken; the text names the file, and the
 * tensor where it is about one. */
dr_status dr_safetensors_open(dr_safetensors *out, const char *path, dr_error *err);
void dr_safetensors_close(dr_safetensors *s); /* zeroed and half-open ones are allowed */

#endif
