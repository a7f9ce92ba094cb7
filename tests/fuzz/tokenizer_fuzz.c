/* Any bytes as a prompt, and as the list of merges beside a good vocabulary. */
#include "model/bpe.h"
#include "model/json.h"
#include "model/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#define FOLDER "tests/goldens/models/sd1/tokenizer"

static void fuzz_prompt(const dr_tokenizer *t, const uint8_t *data, size_t size)
{
    int32_t ids[DR_TOKENS];
    int used = -1;

    if (dr_tokenizer_encode(t, (const char *)data, size, ids, &used, NULL))
        return;
    dr_assert(used >= 0 && (size_t)used <= 3 * size); /* NFC makes three times the bytes at most */
    for (int i = 0; i < DR_TOKENS; i++)
        dr_assert(ids[i] >= 0 && ids[i] < dr_tokenizer_vocab_size(t));
}

static void fuzz_merges(const json_t *vocab, const char *path)
{
    static const char word[] = "the thing";
    const size_t bytes = sizeof(word) - 1;
    dr_bpe_scratch *scratch;
    int32_t ids[sizeof(word)];
    dr_bpe *bpe;

    if (dr_bpe_open(&bpe, vocab, "vocab.json", path, NULL))
        return;
    scratch = dr_bpe_scratch_new(bytes);
    dr_assert(scratch);
    const size_t count = dr_bpe_encode(bpe, scratch, word, bytes, ids, bytes);
    dr_assert(count >= 1 && count <= bytes);
    dr_bpe_scratch_free(scratch);
    dr_bpe_close(bpe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dr_tokenizer *tokenizer; /* opened once: reading it costs more than a prompt */
    static json_t *vocab;

    if (!tokenizer)
        dr_assert(!dr_tokenizer_open(&tokenizer, FOLDER, NULL) &&
                  !dr_json_read(&vocab, FOLDER "/vocab.json", NULL));
    fuzz_prompt(tokenizer, data, size);
    fuzz_merges(vocab, fuzz_file(data, size));
    return 0;
}
