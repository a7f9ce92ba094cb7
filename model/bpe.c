#include "model/bpe.h"

#include "base/input_file.h"
#include "base/limits.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing on the pair; 0 in `id_plus_1` is an empty place. */
typedef struct merge {
    int32_t left, right;
    int32_t rank; /* line of the file: the least is merged first */
    int32_t id_plus_1;
} merge;

struct dr_bpe {
    int32_t byte[256];      /* the symbol of a byte ... */
    int32_t last_byte[256]; /* ... and at the end of a word */
    merge *merges;
    size_t mask; /* places - 1; places are a power of two, half of them empty */
};

/* --- merges --------------------------------------------------------------------------- */

static size_t place_of(const dr_bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

    return (size_t)(pair * UINT64_C(0x9e3779b97f4a7c15) >> 32) & bpe->mask; /* Knuth's multiplicative hash */
}

/* The pair's place, or the empty place where the pair would go. */
static merge *find_place(const dr_bpe *bpe, int32_t left, int32_t right)
{
    size_t at = place_of(bpe, left, right);

    while (bpe->merges[at].id_plus_1 && (bpe->merges[at].left != left || bpe->merges[at].right != right))
        at = (at + 1) & bpe->mask;
    return &bpe->merges[at];
}

static const merge *find(const dr_bpe *bpe, int32_t left, int32_t right)
{
    const merge *m = find_place(bpe, left, right);

    return m->id_plus_1 ? m : NULL;
}

static int32_t token_id(const json_t *vocab, const char *token, size_t bytes)
{
    const json_t *id = json_object_getn(vocab, token, bytes);

    return id ? (int32_t)json_integer_value(id) : -1;
}

/* Returns what is wrong, or NULL. */
static const char *add_pair(dr_bpe *bpe, const json_t *vocab, const char *left, size_t left_bytes,
                            const char *right, size_t right_bytes, int32_t rank)
{
    char joined[DR_TOKEN_BYTES_MAX];
    int32_t left_id, right_id, id;
    merge *m;

    if (left_bytes == 0 || right_bytes == 0 || left_bytes > sizeof(joined) ||
        right_bytes > sizeof(joined) - left_bytes)
        return "not two tokens";
    memcpy(joined, left, left_bytes);
    memcpy(joined + left_bytes, right, right_bytes);
    left_id = token_id(vocab, left, left_bytes);
    right_id = token_id(vocab, right, right_bytes);
    id = token_id(vocab, joined, left_bytes + right_bytes);
    if (left_id < 0 || right_id < 0 || id < 0)
        return "a token that is not in the vocabulary";
    m = find_place(bpe, left_id, right_id);
    *m = (merge){ left_id, right_id, rank, id + 1 };
    return NULL;
}

/* "left right", without its newline. */
static const char *add_line(dr_bpe *bpe, const json_t *vocab, const char *line, size_t bytes, int32_t rank)
{
    const char *space = memchr(line, ' ', bytes);
    const size_t left_bytes = space ? (size_t)(space - line) : 0;

    if (!space || memchr(space + 1, ' ', bytes - left_bytes - 1))
        return "not two tokens";
    return add_pair(bpe, vocab, line, left_bytes, space + 1, bytes - left_bytes - 1, rank);
}

/* ["left", "right"]; tokenizers before 0.20 wrote "left right". */
static const char *add_element(dr_bpe *bpe, const json_t *vocab, const json_t *element, int32_t rank)
{
    const json_t *left = json_array_get(element, 0), *right = json_array_get(element, 1);

    if (json_is_string(element))
        return add_line(bpe, vocab, json_string_value(element), json_string_length(element), rank);
    if (json_array_size(element) != 2 || !json_is_string(left) || !json_is_string(right))
        return "not two tokens";
    return add_pair(bpe, vocab, json_string_value(left), json_string_length(left), json_string_value(right),
                    json_string_length(right), rank);
}

/* Make room for so many merges. */
static dr_status make_places(dr_bpe *bpe, size_t merges, const char *path, dr_error *err)
{
    size_t places = 2;

    while (places < 2 * merges)
        places *= 2;
    bpe->mask = places - 1;
    bpe->merges = calloc(places, sizeof(*bpe->merges));
    return bpe->merges ? DR_OK : dr_fail(err, DR_ENOMEM, "%s: no memory for %zu merges", path, merges);
}

static size_t count_lines(const char *text, size_t bytes)
{
    size_t lines = 1;

    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    return lines;
}

static dr_status read_lines(dr_bpe *bpe, const json_t *vocab, const char *text, size_t bytes,
                            const char *path, dr_error *err)
{
    const char *end = text + bytes;
    int32_t number = 0;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline ? newline + 1 : end, *stop = newline ? newline : end;

        number++;
        if (stop > text && stop[-1] == '\r')
            stop--;
        const bool is_comment = stop - text >= 8 && !memcmp(text, "#version", 8);
        const char *why = is_comment ? NULL : add_line(bpe, vocab, text, (size_t)(stop - text), number);

        if (why)
            return dr_fail(err, DR_EFORMAT, "%s: line %d: %s", path, number, why);
        text = next;
    }
    return DR_OK;
}

static dr_status read_merges(dr_bpe *bpe, const json_t *vocab, const char *path, dr_error *err)
{
    dr_input_content file;
    dr_status rc = dr_input_content_read(&file, path, DR_MERGES_BYTES_MAX, err);

    if (rc)
        return rc;
    rc = make_places(bpe, count_lines((const char *)file.data, file.bytes), path, err);
    if (!rc)
        rc = read_lines(bpe, vocab, (const char *)file.data, file.bytes, path, err);
    dr_input_content_free(&file);
    return rc;
}

static dr_status add_list(dr_bpe *bpe, const json_t *vocab, const json_t *merges, const char *path,
                          dr_error *err)
{
    dr_status rc = make_places(bpe, json_array_size(merges), path, err);
    const json_t *element;
    size_t i;

    if (rc)
        return rc;
    json_array_foreach(merges, i, element)
    {
        const char *why = add_element(bpe, vocab, element, (int32_t)i);

        if (why)
            return dr_fail(err, DR_EFORMAT, "%s: model.merges[%zu]: %s", path, i, why);
    }
    return DR_OK;
}

/* --- bytes ---------------------------------------------------------------------------- */

static bool is_printable(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* A byte's letter in GPT-2's alphabet, in UTF-8: two bytes at most. */
static size_t write_letter(int byte, int unprintables_before, char *to)
{
    const int code = is_printable(byte) ? byte : 0x100 + unprintables_before;

    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    to[0] = (char)(0xc0 | code >> 6);
    to[1] = (char)(0x80 | (code & 0x3f));
    return 2;
}

static dr_status find_bytes(dr_bpe *bpe, const json_t *vocab, const char *vocab_path, dr_error *err)
{
    int unprintables = 0;

    for (int byte = 0; byte < 256; byte++) {
        char token[8];
        const size_t bytes = write_letter(byte, unprintables, token);

        unprintables += !is_printable(byte);
        memcpy(token + bytes, "</w>", 5);
        bpe->byte[byte] = token_id(vocab, token, bytes);
        bpe->last_byte[byte] = token_id(vocab, token, bytes + 4);
        if (bpe->byte[byte] < 0 || bpe->last_byte[byte] < 0)
            return dr_fail(err, DR_EFORMAT, "%s: the vocabulary has no token for the byte 0x%02x", vocab_path,
                           byte);
    }
    return DR_OK;
}

/* --- opening -------------------------------------------------------------------------- */

static dr_status check_ids(const json_t *vocab, const char *path, dr_error *err)
{
    const char *token;
    json_t *id;

    json_object_foreach((json_t *)vocab, token, id) /* the macro's first argument is not const */
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= INT32_MAX)
            return dr_fail(err, DR_EFORMAT, "%s: the id of \"%s\" is not a whole number from 0 on", path,
                           token);
    }
    return DR_OK;
}

/* merges NULL: read merges_path. */
static dr_status open_bpe(dr_bpe **out, const json_t *vocab, const char *vocab_path, const json_t *merges,
                          const char *merges_path, dr_error *err)
{
    dr_bpe *bpe;
    dr_status rc;

    *out = NULL;
    bpe = calloc(1, sizeof(*bpe));
    if (!bpe)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for a tokenizer", vocab_path);
    rc = check_ids(vocab, vocab_path, err);
    if (!rc)
        rc = find_bytes(bpe, vocab, vocab_path, err);
    if (!rc)
        rc = merges ? add_list(bpe, vocab, merges, merges_path, err)
                    : read_merges(bpe, vocab, merges_path, err);
    if (rc) {
        dr_bpe_close(bpe);
        return rc;
    }
    *out = bpe;
    return DR_OK;
}

dr_status dr_bpe_open(dr_bpe **out, const json_t *vocab, const char *vocab_path, const char *merges_path,
                      dr_error *err)
{
    return open_bpe(out, vocab, vocab_path, NULL, merges_path, err);
}

dr_status dr_bpe_open_lists(dr_bpe **out, const json_t *vocab, const json_t *merges, const char *path,
                            dr_error *err)
{
    return open_bpe(out, vocab, path, merges, path, err);
}

void dr_bpe_close(dr_bpe *bpe)
{
    if (!bpe)
        return;
    free(bpe->merges);
    free(bpe);
}

/* --- encoding ------------------------------------------------------------------------- */

/* The symbols of a word: a linked list in an array.  A merged pair takes the place of its left symbol. */
typedef struct symbol {
    int32_t id;          /* -1: merged into the symbol on its left */
    int32_t left, right; /* places of the neighbours; -1: none */
} symbol;

/* A pair that may be merged.  By its turn, one of its symbols may have been merged with another. */
typedef struct candidate {
    const merge *merge;
    int32_t place; /* of its left symbol */
} candidate;

struct dr_bpe_scratch {
    symbol *symbols;
    candidate *heap; /* a binary heap: heap[0] is merged next */
    size_t bytes, candidates;
};

dr_bpe_scratch *dr_bpe_scratch_new(size_t bytes)
{
    dr_bpe_scratch *s = calloc(1, sizeof(*s));

    dr_assert(bytes < INT32_MAX / 4);
    if (!s)
        return NULL;
    s->bytes = bytes;
    s->symbols = malloc((bytes + 1) * sizeof(*s->symbols));
    s->heap =
        malloc((3 * bytes + 1) * sizeof(*s->heap)); /* at first a pair for each byte; each merge adds two */
    if (s->symbols && s->heap)
        return s;
    dr_bpe_scratch_free(s);
    return NULL;
}

void dr_bpe_scratch_free(dr_bpe_scratch *scratch)
{
    if (!scratch)
        return;
    free(scratch->symbols);
    free(scratch->heap);
    free(scratch);
}

static bool comes_before(candidate a, candidate b)
{
    return a.merge->rank != b.merge->rank ? a.merge->rank < b.merge->rank : a.place < b.place;
}

static void push(dr_bpe_scratch *s, candidate c)
{
    size_t at = s->candidates++;

    while (at > 0 && comes_before(c, s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = c;
}

static candidate pop(dr_bpe_scratch *s)
{
    const candidate first = s->heap[0], last = s->heap[--s->candidates];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= s->candidates)
            break;
        if (child + 1 < s->candidates && comes_before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!comes_before(s->heap[child], last))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return first;
}

/* Push the pair of this symbol and the next, if the merges have it. */
static void push_if_mergeable(const dr_bpe *bpe, dr_bpe_scratch *s, int32_t place)
{
    const merge *m;

    if (place < 0 || s->symbols[place].right < 0)
        return;
    m = find(bpe, s->symbols[place].id, s->symbols[s->symbols[place].right].id);
    if (m)
        push(s, (candidate){ m, place });
}

/* Are both symbols of the pair still what they were when it was pushed? */
static bool is_still_there(const dr_bpe_scratch *s, candidate c)
{
    const symbol *left = &s->symbols[c.place];

    return left->id == c.merge->left && left->right >= 0 && s->symbols[left->right].id == c.merge->right;
}

static void merge_at(const dr_bpe *bpe, dr_bpe_scratch *s, candidate c)
{
    symbol *left = &s->symbols[c.place], *gone = &s->symbols[left->right];

    left->id = c.merge->id_plus_1 - 1;
    left->right = gone->right;
    gone->id = -1;
    if (left->right >= 0)
        s->symbols[left->right].left = c.place;
    push_if_mergeable(bpe, s, left->left);
    push_if_mergeable(bpe, s, c.place);
}

size_t dr_bpe_encode(const dr_bpe *bpe, dr_bpe_scratch *s, const char *word, size_t bytes, int32_t *ids,
                     size_t room)
{
    const int32_t count = (int32_t)bytes;
    size_t tokens = 0;

    dr_assert(bytes > 0 && bytes <= s->bytes);
    for (int32_t i = 0; i < count; i++) {
        const int32_t *table = i + 1 < count ? bpe->byte : bpe->last_byte;

        s->symbols[i] = (symbol){ table[(unsigned char)word[i]], i - 1, i + 1 < count ? i + 1 : -1 };
    }
    s->candidates = 0;
    for (int32_t i = 0; i < count; i++)
        push_if_mergeable(bpe, s, i);
    while (s->candidates > 0) {
        const candidate c = pop(s);

        if (is_still_there(s, c))
            merge_at(bpe, s, c);
    }
    for (int32_t i = 0; i >= 0; i = s->symbols[i].right, tokens++)
        if (tokens < room)
            ids[tokens] = s->symbols[i].id;
    return tokens;
}
