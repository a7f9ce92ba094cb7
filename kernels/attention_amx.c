/* attention_amx.c - attention on the matrix unit of recent Xeons (AMX), which multiplies bfloat16.
 *
 * As in attention_isa.c, the lanes are queries.  But a float32 x is split into a sum of two bfloat16, x'
 * and x", which is exact to 2^-17 of its size.  A product of two such sums becomes three products of
 * bfloat16.  The fourth, x" y", is left out, because it is smaller than their rounding:
 *
 *     s^T = K' q'^T + K" q'^T + K' q"^T        o^T = V'^T p'^T + V"^T p'^T + V'^T p"^T
 *
 * A tile has 16 rows of 64 bytes.  The unit computes c[16][16] += a[16][32] b[32][16].  In b, two
 * neighbours of the 32 lie side by side: for the weights, two keys of one query.  The memory is laid out
 * so:
 *
 *     packed keys     a  for 32 keys and 32 channels: K' K" of 16 keys, then K' K" of the other 16;
 *                        for up to 10 channels left over: K' K" K' in one tile, side by side, times q' q' q"
 *     packed values   a  for 32 keys: V' V" of 16 channels, V' V" of the next, ...
 *     queries         b  for 16 queries and 32 channels: q' q"
 *     weights         b  for 16 queries: in turns a row of p' and a row of p", in place of two keys' scores
 *
 * Such a panel of 16 queries is one column of tiles without gaps.  If all 64 queries lay side by side,
 * rows would be 256 bytes apart, and they would use only a quarter of the sets of the first-level cache.
 *
 * Denormals count as zero here.  The pragma below names the instruction set for this file; the Makefile
 * does not. */
#pragma GCC target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")

#include "kernels/amx.h"
#include "kernels/attention_lanes.h"

#include <float.h>

enum {
    KEYS = 96,  /* 32 to 128 are equally fast for d = 40; for larger heads, more is faster */
    PANELS = 4, /* panels of 16 queries */
    QUERIES = PANELS * SIDE,
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* How many channels are left after steps of 32, if all three of their products fit into one tile.
 * Otherwise 0. */
static size_t folded_of(size_t d)
{
    return d % DEPTH * 3 <= DEPTH ? d % DEPTH : 0;
}

/* How many steps of 32 channels the other channels take. */
static size_t steps_of(size_t d)
{
    return (d - folded_of(d) + DEPTH - 1) / DEPTH;
}

/* Bytes of 32 packed keys. */
static size_t key_bytes(size_t d)
{
    return (steps_of(d) * 4 + (folded_of(d) ? 2 : 0)) * TILE;
}

static size_t query_bytes(size_t d)
{
    return (steps_of(d) * 2 + (folded_of(d) ? 1 : 0)) * TILE;
}

static size_t value_bytes(size_t d)
{
    return round_up(d, SIDE) / SIDE * 2 * TILE;
}

/* Bytes of a packed block: its keys, then its values. */
static size_t packed_bytes(size_t d)
{
    return KEYS / DEPTH * (key_bytes(d) + value_bytes(d));
}

/* --- splitting ----------------------------------------------------------------------- */

/* The nearest bfloat16 in the upper half of each float.  The lower half holds garbage. */
static inline __m512i rounded(__m512 x)
{
    return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
}

/* x' as a float. */
static inline __m512 high_of(__m512 x)
{
    return _mm512_castsi512_ps(_mm512_and_si512(rounded(x), _mm512_set1_epi32((int)0xffff0000)));
}

/* The nearest bfloat16 of each value in `even` and in `odd`, side by side. */
static inline __m512i pairs(__m512 even, __m512 odd)
{
    /* Takes the bits of the first operand where the mask is set, else the bits of the second. */
    return _mm512_ternarylogic_epi32(_mm512_set1_epi32((int)0xffff0000), rounded(odd),
                                     _mm512_srli_epi32(rounded(even), 16), 0xca);
}

static inline __mmask16 first_of(size_t n)
{
    return n >= SIDE ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

/* Store x' of 16 values, and x" one tile further. */
static inline void store_parts(void *to, __m512 x)
{
    _mm256_store_si256(to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(x), 16)));
    _mm256_store_si256((void *)((char *)to + TILE),
                       _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(x - high_of(x)), 16)));
}

static inline uint16_t bfloat16(float x)
{
    return (uint16_t)((dr_float_bits(x) + 0x8000u) >> 16);
}

/* Write K' K" K' of one key. */
static void fold_key(uint16_t *to, const float *k, size_t channels)
{
    memset(to, 0, LINE);
    for (size_t j = 0; j < channels; j++) {
        const uint16_t high = bfloat16(k[j]);

        to[j] = to[2 * channels + j] = high;
        to[channels + j] = bfloat16(k[j] - dr_bits_float((uint32_t)high << 16));
    }
}

/* Keys and channels that do not exist become zeros, so 32 keys are always full. */
static void pack_keys(char *to, const float *k, size_t ld, size_t keys, size_t d)
{
    const size_t steps = steps_of(d), folded = folded_of(d);

    memset(to, 0, round_up(keys, DEPTH) / DEPTH * key_bytes(d));
    for (size_t i = 0; i < keys; i++, k += ld) {
        char *tiles = to + i / DEPTH * key_bytes(d),
             *row = tiles + i % DEPTH / SIDE * 2 * TILE + i % SIDE * LINE;

        for (size_t j = 0; j < d - folded; j += SIDE)
            store_parts(row + j / DEPTH * 4 * TILE + j % DEPTH * sizeof(uint16_t),
                        _mm512_maskz_loadu_ps(first_of(d - j), k + j));
        if (folded)
            fold_key((uint16_t *)(tiles + steps * 4 * TILE + i % DEPTH * LINE), k + d - folded, folded);
    }
}

/* Write the two tiles of up to 32 keys of up to 16 channels. */
static void pack_value_tiles(char *to, const float *v, size_t ld, size_t keys, size_t channels)
{
    float across[SIDE * DEPTH] __attribute__((aligned(LINE))) = { 0 }; /* [channels, keys] */

    transpose(across, DEPTH, v, ld, keys, channels);
    for (size_t i = 0; i < SIDE * DEPTH; i += SIDE)
        store_parts(to + i * sizeof(uint16_t), _mm512_load_ps(across + i));
}

static void pack_values(char *to, const float *v, size_t ld, size_t keys, size_t d)
{
    for (size_t i = 0; i < keys; i += DEPTH)
        for (size_t c = 0; c < d; c += SIDE, to += 2 * TILE)
            pack_value_tiles(to, v + i * ld + c, ld, keys - i < DEPTH ? keys - i : DEPTH,
                             d - c < SIDE ? d - c : SIDE);
}

static void pack(void *to, const float *k, size_t k_ld, const float *v, size_t v_ld, size_t keys, size_t d)
{
    pack_keys(to, k, k_ld, keys, d);
    pack_values((char *)to + KEYS / DEPTH * key_bytes(d), v, v_ld, keys, d);
}

/* --- products ------------------------------------------------------------------------- */

/* c += a b, for 32 rows and the 32 queries of two panels.  The sum takes 32 terms at a time. */
typedef struct product {
    float *c[2];   /* [rows, 16] of each panel */
    const char *a; /* two tiles for 16 rows, two for the next 16 */
    const char
        *b[2]; /* of each panel: rows of the high parts, b_line apart; the low parts are b_low further */
    size_t a_step, b_step, b_line, b_low;
    size_t steps;
    bool folded; /* one more step, in which a and b have one tile each */
} product;

/* Tiles 0, 1, 2 and 3 are c; 4 and 5 are a; 6 and 7 are b. */
static void multiply_32_rows(const product *m)
{
    const char *a = m->a, *b0 = m->b[0], *b1 = m->b[1];
    const size_t b_line = m->b_line;

    for (size_t i = 0; i < m->steps; i++, a += m->a_step, b0 += m->b_step, b1 += m->b_step) {
        _tile_loadd(4, a + TILE, LINE);
        _tile_loadd(6, b0, b_line);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b1, b_line);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 3 * TILE, LINE);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(4, a, LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 2 * TILE, LINE);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, b0 + m->b_low, b_line);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b1 + m->b_low, b_line);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    if (m->folded) {
        _tile_loadd(4, a, LINE);
        _tile_loadd(6, b0, b_line);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b1, b_line);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + TILE, LINE);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, m->c[0], LINE);
    _tile_stored(1, m->c[1], LINE);
    _tile_stored(2, m->c[0] + SIDE * SIDE, LINE);
    _tile_stored(3, m->c[1] + SIDE * SIDE, LINE);
}

static void multiply_from_zero(const product *m)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    multiply_32_rows(m);
}

static void multiply_onto(const product *m)
{
    _tile_loadd(0, m->c[0], LINE);
    _tile_loadd(1, m->c[1], LINE);
    _tile_loadd(2, m->c[0] + SIDE * SIDE, LINE);
    _tile_loadd(3, m->c[1] + SIDE * SIDE, LINE);
    multiply_32_rows(m);
}

/* The same for the last 16 rows. */
static void multiply_16_rows_onto(const product *m)
{
    const char *a = m->a, *b0 = m->b[0], *b1 = m->b[1];
    const size_t b_line = m->b_line;

    _tile_loadd(0, m->c[0], LINE);
    _tile_loadd(1, m->c[1], LINE);
    for (size_t i = 0; i < m->steps; i++, a += m->a_step, b0 += m->b_step, b1 += m->b_step) {
        _tile_loadd(4, a, LINE);
        _tile_loadd(5, a + TILE, LINE);
        _tile_loadd(6, b0, b_line);
        _tile_dpbf16ps(0, 5, 6);
        _tile_loadd(7, b1, b_line);
        _tile_dpbf16ps(1, 5, 7);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(6, b0 + m->b_low, b_line);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b1 + m->b_low, b_line);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, m->c[0], LINE);
    _tile_stored(1, m->c[1], LINE);
}

/* --- a block of queries ----------------------------------------------------------------- */

/* The parts of the scratch. */
typedef struct work {
    float *q[PANELS];   /* [d, 16], in units of log2 */
    float *out[PANELS]; /* [d rounded up to 16, 16] */
    float *s[PANELS];   /* [KEYS, 16]: scores, then pairs of weights */
    char *q_tiles[PANELS];
    float *max[PANELS], *sum[PANELS]; /* [16] */
    int panels;                       /* in use: 2 or 4 */
} work;

static size_t panel_bytes(size_t d)
{
    return (d + round_up(d, SIDE) + KEYS + 2) * LINE + query_bytes(d);
}

static size_t scratch_bytes(size_t d)
{
    return PANELS * panel_bytes(d);
}

/* Channel j of 16 queries; zeros for j >= d. */
static inline __m512 channel(const float *q, size_t j, size_t d)
{
    return j < d ? _mm512_load_ps(q + j * SIDE) : _mm512_setzero_ps();
}

/* Element t of q' q' q", which has `channels` channels three times. */
static inline __m512 folded_part(const float *q, size_t t, size_t channels)
{
    const size_t part = t / channels;
    const __m512 x = channel(q, t - part * channels, channels);

    if (part < 2)
        return x;
    return part == 2 ? _mm512_sub_ps(x, high_of(x)) : _mm512_setzero_ps();
}

/* q^T [d, 16] as tiles: two channels side by side in each row. */
static void split_queries(char *to, const float *q, size_t d)
{
    const size_t steps = steps_of(d), folded = folded_of(d);
    const float *rest = q + (d - folded) * SIDE;

    for (size_t j = 0; j < steps * DEPTH; j += 2) {
        const __m512 even = channel(q, j, d), odd = channel(q, j + 1, d);
        char *tiles = to + j / DEPTH * 2 * TILE + j % DEPTH / 2 * LINE;

        _mm512_store_si512(tiles, pairs(even, odd));
        _mm512_store_si512(tiles + TILE, pairs(even - high_of(even), odd - high_of(odd)));
    }
    for (size_t t = 0; folded && t < DEPTH; t += 2)
        _mm512_store_si512(to + steps * 2 * TILE + t / 2 * LINE,
                           pairs(folded_part(rest, t, folded), folded_part(rest, t + 1, folded)));
}

static void start_panel(work *w, int i, const dr_attention_block *a, char *scratch)
{
    float *at = (float *)(scratch + (size_t)i * panel_bytes(a->d));

    w->q[i] = at;
    w->out[i] = w->q[i] + a->d * SIDE;
    w->s[i] = w->out[i] + round_up(a->d, SIDE) * SIDE;
    w->max[i] = w->s[i] + KEYS * SIDE;
    w->sum[i] = w->max[i] + SIDE;
    w->q_tiles[i] = (char *)(w->sum[i] + SIDE);
    queries_to_lanes(w->q[i], SIDE, a, (size_t)i * SIDE);
    split_queries(w->q_tiles[i], w->q[i], a->d);
    memset(w->out[i], 0, round_up(a->d, SIDE) * LINE);
    _mm512_store_ps(w->max[i], vec_all(-FLT_MAX));
    _mm512_store_ps(w->sum[i], vec_all(0.0f));
}

static void scores(const work *w, const char *k, size_t d, size_t keys)
{
    STORES_ARE_DONE;
    for (size_t i = 0; i < keys; i += DEPTH, k += key_bytes(d))
        for (int j = 0; j < w->panels; j += 2)
            multiply_from_zero(&(product){
                .c = { w->s[j] + i * SIDE, w->s[j + 1] + i * SIDE },
                .a = k,
                .a_step = 4 * TILE,
                .b = { w->q_tiles[j], w->q_tiles[j + 1] },
                .b_step = 2 * TILE,
                .b_line = LINE,
                .b_low = TILE,
                .steps = steps_of(d),
                .folded = folded_of(d) > 0,
            });
}

/* Turn the scores of two keys for 16 queries into pairs of weights, in place.  Returns the sum of the
 * weights. */
static inline __m512 weigh_pair(float *s, __m512 max)
{
    const __m512 even = vec_exp2(_mm512_load_ps(s) - max);
    const __m512 odd = vec_exp2(_mm512_load_ps(s + SIDE) - max);

    _mm512_store_si512(s, pairs(even, odd));
    _mm512_store_si512(s + SIDE, pairs(even - high_of(even), odd - high_of(odd)));
    return even + odd;
}

/* Turn the scores of all panels into weights, and update max, sum and out.  The panels are done side by
 * side.  Each panel is a chain of maxima and a chain of sums, and one chain alone would wait for its own
 * results.  Keys that do not exist, up to a multiple of 32, get weights that add nothing. */
static inline __attribute__((always_inline)) void weigh(const work *w, size_t d, size_t keys,
                                                        const int panels)
{
    const size_t rows = round_up(keys, DEPTH);
    __m512 max[PANELS], sum[PANELS], factor[PANELS];

    UNROLLED (v, panels) {
        for (size_t i = keys * SIDE; i < rows * SIDE; i++)
            w->s[v][i] = HIDDEN;
        max[v] = _mm512_load_ps(w->max[v]);
    }
    for (size_t i = 0; i < keys * SIDE; i += SIDE)
        UNROLLED (v, panels)
            max[v] = vec_max(max[v], _mm512_load_ps(w->s[v] + i));
    UNROLLED (v, panels) {
        factor[v] = vec_exp2(_mm512_load_ps(w->max[v]) - max[v]);
        _mm512_store_ps(w->max[v], max[v]);
        sum[v] = _mm512_load_ps(w->sum[v]) * factor[v];
    }
    for (size_t i = 0; i < rows * SIDE; i += 2 * SIDE)
        UNROLLED (v, panels)
            sum[v] = sum[v] + weigh_pair(w->s[v] + i, max[v]);
    UNROLLED (v, panels)
        _mm512_store_ps(w->sum[v], sum[v]);
    for (size_t i = 0; i < d * SIDE; i += SIDE)
        UNROLLED (v, panels)
            _mm512_store_ps(w->out[v] + i, _mm512_load_ps(w->out[v] + i) * factor[v]);
}

static void weights(const work *w, size_t d, size_t keys)
{
    if (w->panels == PANELS)
        weigh(w, d, keys, PANELS);
    else
        weigh(w, d, keys, 2);
}

static void values(const work *w, const char *v, size_t d, size_t keys)
{
    STORES_ARE_DONE;
    for (size_t c = 0; c < d; c += 2 * SIDE, v += 4 * TILE)
        for (int j = 0; j < w->panels; j += 2) {
            const product m = {
                .c = { w->out[j] + c * SIDE, w->out[j + 1] + c * SIDE },
                .a = v,
                .a_step = value_bytes(d),
                .b = { (const char *)w->s[j], (const char *)w->s[j + 1] },
                .b_step = 2 * TILE,
                .b_line = 2 * LINE,
                .b_low = LINE,
                .steps = (keys + DEPTH - 1) / DEPTH,
            };

            if (d - c > SIDE)
                multiply_onto(&m);
            else
                multiply_16_rows_onto(&m);
        }
}

static void block(const dr_attention_block *a, void *scratch)
{
    const size_t seen = keys_seen(a);
    const char *k = a->packed;
    work w = { .panels = a->queries > 2 * SIDE ? PANELS : 2 };

    _tile_loadconfig(&eight_tiles);
    for (int i = 0; i < w.panels; i++)
        start_panel(&w, i, a, scratch);
    for (size_t key = 0; key < seen; key += KEYS, k += packed_bytes(a->d)) {
        const size_t keys = seen - key < KEYS ? seen - key : KEYS;

        scores(&w, k, a->d, keys);
        for (int i = 0; a->causal && i < w.panels; i++)
            hide_later_keys(w.s[i], SIDE, a, (size_t)i * SIDE, key, keys);
        weights(&w, a->d, keys);
        values(&w, k + KEYS / DEPTH * key_bytes(a->d), a->d, keys);
    }
    for (int i = 0; i < w.panels; i++)
        lanes_to_queries(a, (size_t)i * SIDE, w.out[i], SIDE, w.sum[i]);
    _tile_release();
}

const dr_attention_kernels dr_attention_kernels_amx = {
    .queries = QUERIES,
    .keys = KEYS,
    .packed_bytes = packed_bytes,
    .scratch_bytes = scratch_bytes,
    .pack = pack,
    .block = block,
};
