/* Any bytes as each file of a tokenizer folder that says something about its tokens. */
#include "model/bpe.h"
#include "model/tokenizer.h"
#include "model/tokenizer_json.h"
#include "tests/fuzz/fuzz.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "tests/goldens/models/sd1/tokenizer"

static char folder[] = "/tmp/darkroom-fuzz-XXXXXX";

static const struct place {
    const char *name, *golden; /* NULL: the bytes */
} PLACES[] = {
    { "vocab.json", GOLDEN "/vocab.json" }, { "merges.txt", GOLDEN "/merges.txt" },
    { "tokenizer_config.json", NULL },      { "special_tokens_map.json", NULL },
    { "added_tokens.json", NULL },
};
enum { PLACE_COUNT = sizeof(PLACES) / sizeof(PLACES[0]) };

static void remove_folder(void)
{
    char path[64];

    for (int i = 0; i < PLACE_COUNT; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, PLACES[i].name);
        unlink(path);
    }
    rmdir(folder);
}

static void make_folder(const char *bytes_path)
{
    char path[64], golden[PATH_MAX];

    dr_assert(mkdtemp(folder));
    atexit(remove_folder);
    for (int i = 0; i < PLACE_COUNT; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, PLACES[i].name);
        if (PLACES[i].golden)
            dr_assert(realpath(PLACES[i].golden, golden));
        dr_assert(symlink(PLACES[i].golden ? golden : bytes_path, path) == 0);
    }
}

static void try_settings(void)
{
    static const char text[] = "the <|endoftext|>thing! <cat-toy> new1";
    int32_t ids[DR_TOKENS];
    dr_tokenizer *t;

    if (dr_tokenizer_open(&t, folder, NULL))
        return;
    dr_assert(!dr_tokenizer_encode(t, text, sizeof(text) - 1, ids, NULL, NULL));
    for (int i = 0; i < DR_TOKENS; i++)
        dr_assert(ids[i] >= 0 && ids[i] < dr_tokenizer_vocab_size(t));
    dr_tokenizer_close(t);
}

static void try_whole(const char *path)
{
    dr_tokenizer_json json;
    dr_bpe *bpe;

    if (dr_tokenizer_json_read(&json, path, NULL))
        return;
    if (!dr_bpe_open_lists(&bpe, json.vocab, json.merges, path, NULL))
        dr_bpe_close(bpe);
    dr_tokenizer_json_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_made;
    const char *path = fuzz_file(data, size);

    if (!is_made)
        make_folder(path);
    is_made = true;
    try_settings();
    try_whole(path);
    return 0;
}
