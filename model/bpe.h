/* bpe.h - byte-pair encoding with an end-of-word mark, as CLIP has it.
 *
 *     word  "cats"      c    a    t    s</w>        a symbol for each byte
 *                       c    at        s</w>        the pair that stands first in merges.txt
 *                       cat            s</w>
 *                       cats</w>                    ... until no pair stands in it
 *
 * Bytes are written in the files by GPT-2's alphabet: printable Latin-1 as it is, the rest from
 * U+0100 on.  Does not change once open. */
#ifndef DR_MODEL_BPE_H
#define DR_MODEL_BPE_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_bpe dr_bpe;

/* vocab maps tokens to ids; vocab_path is for messages.  vocab is not needed afterwards.  On failure
 * *out is NULL and err names the file. */
dr_status dr_bpe_open(dr_bpe **out, const json_t *vocab, const char *vocab_path, const char *merges_path,
                      dr_error *err);

/* The same from lists: merges has ["left", "right"] or "left right"; both are from the file `path`. */
dr_status dr_bpe_open_lists(dr_bpe **out, const json_t *vocab, const json_t *merges, const char *path,
                            dr_error *err);
void dr_bpe_close(dr_bpe *bpe); /* NULL is allowed */

/* Memory for words of up to `bytes` bytes.  One thread; to be ended with dr_bpe_scratch_free(). */
typedef struct dr_bpe_scratch dr_bpe_scratch;
dr_bpe_scratch *dr_bpe_scratch_new(size_t bytes); /* NULL: no memory */
void dr_bpe_scratch_free(dr_bpe_scratch *scratch);

/* Encode one word of 1 .. scratch bytes.  Its ids are written from ids on, at most `room`; returns how
 * many it has.  Time: bytes times log(bytes). */
size_t dr_bpe_encode(const dr_bpe *bpe, dr_bpe_scratch *scratch, const char *word, size_t bytes, int32_t *ids,
                     size_t room);

#endif
