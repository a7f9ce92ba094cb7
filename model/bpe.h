/* bpe.h - byte-pair encoding with an end-of-word mark, as CLIP has it.
 *
 *     word  "cats"      c    a    t    s</w>        a symbol for each byte
 *                       c    at        s</w>        the pair that stands first in merges.txt
 *                       cat            s</w>
 *                       cats</w>                    ... until the file has none of its pairs
 *
 * The files write bytes in GPT-2's alphabet: printable Latin-1 as it is, the other bytes as letters from
 * U+0100 on.
 *
 * Threads: a dr_bpe does not change once it is open, so any thread may encode with it. */
#ifndef DR_MODEL_BPE_H
#define DR_MODEL_BPE_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_bpe dr_bpe;

/* Read the merges of merges.txt.  vocab maps tokens to ids; it is borrowed for the call, and vocab_path is
 * for messages.  On success the caller owns *out.  On failure *out is NULL, and err names the file and its
 * line. */
dr_status dr_bpe_open(dr_bpe **out, const json_t *vocab, const char *vocab_path, const char *merges_path,
                      dr_error *err);

/* The same with merges as a list of ["left", "right"] or "left right".  `path`, for messages, is the file
 * of both. */
dr_status dr_bpe_open_lists(dr_bpe **out, const json_t *vocab, const json_t *merges, const char *path,
                            dr_error *err);
void dr_bpe_close(dr_bpe *bpe); /* NULL is allowed */

/* Memory to encode words of up to `bytes` bytes in, for one thread at a time.  The caller owns it.  NULL:
 * no memory. */
typedef struct dr_bpe_scratch dr_bpe_scratch;
dr_bpe_scratch *dr_bpe_scratch_new(size_t bytes);
void dr_bpe_scratch_free(dr_bpe_scratch *scratch); /* NULL is allowed */

/* Encode one word of 1 to as many bytes as the scratch is for.  Writes at most `room` ids, and returns how
 * many ids the word has, which may be more.  Takes a time of bytes * log(bytes). */
size_t dr_bpe_encode(const dr_bpe *bpe, dr_bpe_scratch *scratch, const char *word, size_t bytes, int32_t *ids,
                     size_t room);

#endif
