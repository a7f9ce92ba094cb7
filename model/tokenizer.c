#include "model/tokenizer.h"

#include "model/bpe.h"
#include "model/json.h"
#include "model/special_tokens.h"
#include "model/token_settings.h"
#include "model/tokenizer_json.h"
#include "model/unicode_text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_TOKENS_MAX = DR_TOKENS - 2 }; /* between start and end */

struct dr_tokenizer {
    dr_bpe *bpe;
    dr_special_tokens special;
    int vocab_size;
};

/* --- opening -------------------------------------------------------------------------- */

static int largest_id(const json_t *vocab, const dr_special_tokens *special)
{
    json_int_t largest = 0;
    const char *token;
    json_t *id;

    json_object_foreach((json_t *)vocab, token, id)
    {
        if (json_integer_value(id) > largest)
            largest = json_integer_value(id);
    }
    for (int i = 0; i < special->count; i++)
        if (special->token[i].id > largest)
            largest = special->token[i].id;
    return (int)largest;
}

static dr_status read_settings(dr_tokenizer *t, const dr_token_sources *from, dr_error *err)
{
    dr_status rc = dr_token_settings_read(&t->special, from, err);

    if (!rc)
        t->vocab_size = largest_id(from->vocab, &t->special) + 1;
    return rc;
}

static dr_status open_json(dr_tokenizer *t, const char *folder, const char *path, dr_error *err)
{
    dr_tokenizer_json json;
    dr_status rc = dr_tokenizer_json_read(&json, path, err);

    if (rc)
        return rc;
    rc = dr_bpe_open_lists(&t->bpe, json.vocab, json.merges, path, err);
    if (!rc)
        rc = read_settings(t, &(dr_token_sources){ folder, json.vocab, json.added, path }, err);
    dr_tokenizer_json_free(&json);
    return rc;
}

static dr_status open_vocab_and_merges(dr_tokenizer *t, const char *folder, dr_error *err)
{
    char vocab_path[PATH_MAX], merges_path[PATH_MAX];
    json_t *vocab;
    dr_status rc;

    snprintf(vocab_path, sizeof(vocab_path), "%s/vocab.json", folder);
    snprintf(merges_path, sizeof(merges_path), "%s/merges.txt", folder);
    rc = dr_json_read(&vocab, vocab_path, err);
    if (!rc)
        rc = dr_bpe_open(&t->bpe, vocab, vocab_path, merges_path, err);
    if (!rc)
        rc = read_settings(t, &(dr_token_sources){ folder, vocab, NULL, vocab_path }, err);
    json_decref(vocab);
    return rc;
}

/* If a folder has both forms, transformers reads tokenizer.json. */
static dr_status open_files(dr_tokenizer *t, const char *folder, dr_error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/tokenizer.json", folder);
    return access(path, F_OK) ? open_vocab_and_merges(t, folder, err) : open_json(t, folder, path, err);
}

dr_status dr_tokenizer_open(dr_tokenizer **out, const char *folder, dr_error *err)
{
    dr_tokenizer *t;
    dr_status rc;

    *out = NULL;
    t = calloc(1, sizeof(*t));
    if (!t)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for a tokenizer", folder);
    rc = open_files(t, folder, err);
    if (rc) {
        dr_tokenizer_close(t);
        return rc;
    }
    *out = t;
    return DR_OK;
}

void dr_tokenizer_close(dr_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    dr_bpe_close(tokenizer->bpe);
    free(tokenizer);
}

int dr_tokenizer_vocab_size(const dr_tokenizer *tokenizer)
{
    return tokenizer->vocab_size;
}

/* --- words ---------------------------------------------------------------------------- */

/* The tokens of one prompt.  Tokens that do not fit are only counted. */
typedef struct encoding {
    const dr_tokenizer *tokenizer;
    int32_t ids[TEXT_TOKENS_MAX];
    size_t count;
} encoding;

/* The words of a normalized text. */
typedef struct words {
    encoding *to;
    dr_bpe_scratch *scratch;
} words;

static void add_special(encoding *e, const dr_special_token *token)
{
    if (e->count < TEXT_TOKENS_MAX)
        e->ids[e->count] = token->id;
    e->count++;
}

static void add_word(const words *w, const char *word, size_t bytes)
{
    encoding *e = w->to;
    const size_t kept = e->count < TEXT_TOKENS_MAX ? e->count : TEXT_TOKENS_MAX;

    e->count +=
        dr_bpe_encode(e->tokenizer->bpe, w->scratch, word, bytes, e->ids + kept, TEXT_TOKENS_MAX - kept);
}

static size_t starts_with_one_of(const char *const *list, const char *text, size_t bytes)
{
    for (; *list; list++) {
        const size_t length = strlen(*list);

        if (length <= bytes && !memcmp(*list, text, length))
            return length;
    }
    return 0;
}

/* How many bytes of text, from its beginning, are of one class. */
static size_t run_length(const char *text, size_t bytes, dr_text_class class)
{
    size_t done = 0, length;

    while (done < bytes && dr_text_class_at(text + done, bytes - done, &length) == class)
        done += length;
    return done;
}

/* The first word by CLIP's pattern: a contraction, letters, one digit, or a run of anything else. */
static size_t word_length(const char *text, size_t bytes, bool *is_space)
{
    static const char *const contractions[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", NULL };
    size_t length = starts_with_one_of(contractions, text, bytes);
    dr_text_class class;

    *is_space = false;
    if (length)
        return length;
    class = dr_text_class_at(text, bytes, &length);
    *is_space = class == DR_TEXT_SPACE;
    return class == DR_TEXT_NUMBER ? length : run_length(text, bytes, class);
}

/* CLIP's pattern also has the names of the special tokens.  A name in capitals is not cut out before,
 * because only the raw text is searched for names.  But it still ends the word before it and begins a new
 * word after it. */
static void add_words(const words *w, const char *text, size_t bytes, bool with_names)
{
    static const char *const names[] = { "<|startoftext|>", "<|endoftext|>", NULL };

    while (bytes > 0) {
        const size_t name = with_names ? starts_with_one_of(names, text, bytes) : 0;
        bool is_space = false;
        const size_t length = name ? name : word_length(text, bytes, &is_space);

        if (name)
            add_words(w, text, length, false);
        else if (!is_space)
            add_word(w, text, length);
        text += length;
        bytes -= length;
    }
}

/* --- prompts -------------------------------------------------------------------------- */

typedef dr_status (*piece_fn)(void *context, const char *text, size_t bytes, dr_error *err);

/* Cut out the special tokens of one kind.  The text between them goes to `piece`. */
static dr_status cut(encoding *e, bool normalized, const char *text, size_t bytes, piece_fn piece,
                     void *context, dr_error *err)
{
    const dr_special_tokens *special = &e->tokenizer->special;
    size_t begin = 0, at = 0;
    dr_status rc = DR_OK;

    while (at < bytes && !rc) {
        const dr_special_token *token = dr_special_token_at(special, normalized, text + at, bytes - at);

        if (!token) {
            at++;
            continue;
        }
        if (at > begin)
            rc = piece(context, text + begin, at - begin, err);
        add_special(e, token);
        begin = at += token->bytes;
    }
    if (!rc && at > begin)
        rc = piece(context, text + begin, at - begin, err);
    return rc;
}

static dr_status encode_normalized_piece(void *context, const char *text, size_t bytes, dr_error *err)
{
    (void)err;
    add_words(context, text, bytes, true);
    return DR_OK;
}

static dr_status encode_raw_piece(void *context, const char *text, size_t bytes, dr_error *err)
{
    encoding *e = context;
    words w = { .to = e };
    char *normal;
    size_t normal_bytes;
    dr_status rc = dr_text_normalize(&normal, &normal_bytes, text, bytes, err);

    if (rc)
        return rc;
    w.scratch = dr_bpe_scratch_new(normal_bytes);
    if (w.scratch)
        rc = cut(e, true, normal, normal_bytes, encode_normalized_piece, &w, err);
    else
        rc = dr_fail(err, DR_ENOMEM, "no memory to encode a text of %zu bytes", normal_bytes);
    dr_bpe_scratch_free(w.scratch);
    free(normal);
    return rc;
}

dr_status dr_tokenizer_encode(const dr_tokenizer *tokenizer, const char *text, size_t bytes,
                              int32_t ids[DR_TOKENS], int *used, dr_error *err)
{
    encoding e = { .tokenizer = tokenizer };
    int count = 0;
    size_t valid;
    dr_status rc;

    if (bytes > DR_PROMPT_BYTES_MAX)
        return dr_fail(err, DR_EINVAL, "the prompt has %zu bytes; at most %d are allowed", bytes,
                       DR_PROMPT_BYTES_MAX);
    valid = dr_utf8_valid_bytes(text, bytes);
    if (valid < bytes)
        return dr_fail(err, DR_EINVAL, "the prompt is not UTF-8 at byte %zu", valid);
    rc = cut(&e, false, text, bytes, encode_raw_piece, &e, err);
    if (rc)
        return rc;
    ids[count++] = tokenizer->special.begin;
    for (size_t i = 0; i < e.count && i < TEXT_TOKENS_MAX; i++)
        ids[count++] = e.ids[i];
    ids[count++] = tokenizer->special.end;
    while (count < DR_TOKENS)
        ids[count++] = tokenizer->special.pad;
    if (used)
        *used = (int)e.count;
    return DR_OK;
}
