/* attention_amx.c - attention on the matrix unit of recent Xeons (AMX), which multiplies bfloat16.
 *
 * As attention_isa.c, queries in the lanes; but a float32 x is the sum of two bfloat16, x' and x", to
 * 2^-17 of its size, and a product is three of them (x" y" is below their rounding):
 *
 *     s^T = K' q'^T + K" q'^T + K' q"^T        o^T = V'^T p'^T + V"^T p'^T + V'^T p"^T
 *
 * A tile holds 16 rows of 64 bytes.  The unit sums c[16][16] += a[16][32] b[32][16] with two
 * neighbours of the 32 side by side in b, which is what two keys' weights over 16 queries are:
 *
 *     packed keys    [KEYS][K' K" K' of the d channels]     a; depth is 3 d, rounded up to 32
 *     packed values  for each 32 keys and 16 channels: tile of V', tile of V"          a
 *     queries        [depth / 2 pairs][QUERIES][2] of q' q' q"                          b
 *     weights        [KEYS / 2 pairs][p' or p"][QUERIES][2], in place of the scores     b
 *
 * Denormals count as zero here.  Compiled for its instruction set by the line below, not by the Makefile. */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")

#include "kernels/attention_lanes.h"

#include <float.h>

enum {
    SIDE = 16,                  /* rows of a tile; columns of float32 */
    DEPTH = 32,                 /* bfloat16 in a tile's row */
    TILE = 1024,                /* bytes */
    LINE = 64,                  /* bytes of a tile's row */
    KEYS = 96,                 /* scores of a block stay in the first-level cache */
    QUERIES = 64,               /* four tiles */
    VECTORS = QUERIES / SIDE,
    ROW = QUERIES * sizeof(float), /* bytes: queries of one key, or of one pair */
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t depth_of(size_t d)
{
    return round_up(3 * d, DEPTH);
}

static size_t key_bytes(size_t d)
{
    return KEYS * depth_of(d) * sizeof(uint16_t);
}

static size_t value_step_bytes(size_t d)
{
    return round_up(d, SIDE) / SIDE * 2 * TILE;
}

static size_t packed_bytes(size_t d)
{
    return key_bytes(d) + KEYS / DEPTH * value_step_bytes(d);
}

/* --- splitting ----------------------------------------------------------------------- */

/* The nearest bfloat16 in the upper half; the lower half is not cleared. */
static inline __m512i rounded(__m512 x)
{
    return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
}

/* x', as the float that it is. */
static inline __m512 high_of(__m512 x)
{
    return _mm512_castsi512_ps(_mm512_and_si512(rounded(x), _mm512_set1_epi32((int)0xffff0000)));
}

/* The nearest bfloat16 of even and odd, side by side. */
static inline __m512i pairs(__m512 even, __m512 odd)
{
    /* Bits of the first where the mask is set, of the second elsewhere. */
    return _mm512_ternarylogic_epi32(_mm512_set1_epi32((int)0xffff0000), rounded(odd),
                                     _mm512_srli_epi32(rounded(even), 16), 0xca);
}

static inline __mmask16 first_of(size_t n)
{
    return n >= SIDE ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

/* 16 neighbours as bfloat16. */
static inline void store_high(uint16_t *to, __m512 x, __mmask16 mask)
{
    _mm512_mask_cvtepi32_storeu_epi16(to, mask, _mm512_srli_epi32(rounded(x), 16));
}

static void pack_keys(uint16_t *to, const float *k, size_t ld, size_t keys, size_t d)
{
    const size_t depth = depth_of(d);

    memset(to, 0, key_bytes(d));
    for (size_t i = 0; i < keys; i++, to += depth, k += ld)
        for (size_t j = 0; j < d; j += SIDE) {
            const __mmask16 mask = first_of(d - j);
            const __m512 x = _mm512_maskz_loadu_ps(mask, k + j);

            store_high(to + j, x, mask);
            store_high(to + d + j, x - high_of(x), mask);
            store_high(to + 2 * d + j, x, mask);
        }
}

/* Up to 32 keys of up to 16 channels: the two tiles. */
static void pack_value_tiles(char *to, const float *v, size_t ld, size_t keys, size_t channels)
{
    float across[SIDE * DEPTH] __attribute__((aligned(LINE))) = { 0 }; /* [channels, keys] */

    transpose(across, DEPTH, v, ld, keys, channels);
    for (size_t i = 0; i < SIDE * DEPTH; i += SIDE) {
        const __m512 x = _mm512_load_ps(across + i);

        store_high((uint16_t *)to + i, x, 0xffff);
        store_high((uint16_t *)(to + TILE) + i, x - high_of(x), 0xffff);
    }
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
    pack_values((char *)to + key_bytes(d), v, v_ld, keys, d);
}

/* --- products ------------------------------------------------------------------------- */

/* Eight tiles of 16 rows and 64 bytes: palette 1, in the manual's layout.  Constant, as the compiler does not
 * see that the instruction reads all of it. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t rows[16];
} eight_tiles __attribute__((aligned(64))) = {
    .palette = 1,
    .line_bytes = { LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE },
    .rows = { SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE },
};

/* The compiler does not know that a tile is loaded from memory: what was stored there must not be late. */
#define STORES_ARE_DONE __asm__ volatile("" ::: "memory")

/* Tiles 0 1 / 2 3 are c; 4 and 5 the left operand, 6 and 7 the right one. */

/* Scores of 32 keys and 32 queries. */
static void score_tiles(char *s, const char *k, const char *q, size_t depth)
{
    const size_t k_stride = depth * sizeof(uint16_t);

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < depth; i += DEPTH, k += LINE, q += SIDE * ROW) {
        _tile_loadd(4, k, k_stride);
        _tile_loadd(6, q, ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, q + LINE, ROW);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, k + SIDE * k_stride, k_stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, s, ROW);
    _tile_stored(1, s + LINE, ROW);
    _tile_stored(2, s + SIDE * ROW, ROW);
    _tile_stored(3, s + SIDE * ROW + LINE, ROW);
}

/* 32 channels and 32 queries of o += V^T p, over `steps` of 32 keys. */
static void value_tiles_32(char *out, const char *v, size_t v_step, const char *p, size_t steps)
{
    _tile_loadd(0, out, ROW);
    _tile_loadd(1, out + LINE, ROW);
    _tile_loadd(2, out + SIDE * ROW, ROW);
    _tile_loadd(3, out + SIDE * ROW + LINE, ROW);
    for (size_t i = 0; i < steps; i++, v += v_step, p += DEPTH * ROW) {
        _tile_loadd(4, v + TILE, LINE);
        _tile_loadd(6, p, 2 * ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p + LINE, 2 * ROW);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, v + 3 * TILE, LINE);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(4, v, LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, v + 2 * TILE, LINE);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, p + ROW, 2 * ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p + ROW + LINE, 2 * ROW);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, ROW);
    _tile_stored(1, out + LINE, ROW);
    _tile_stored(2, out + SIDE * ROW, ROW);
    _tile_stored(3, out + SIDE * ROW + LINE, ROW);
}

/* The same sums for the last 16 channels. */
static void value_tiles_16(char *out, const char *v, size_t v_step, const char *p, size_t steps)
{
    _tile_loadd(0, out, ROW);
    _tile_loadd(1, out + LINE, ROW);
    for (size_t i = 0; i < steps; i++, v += v_step, p += DEPTH * ROW) {
        _tile_loadd(4, v, LINE);
        _tile_loadd(5, v + TILE, LINE);
        _tile_loadd(6, p, 2 * ROW);
        _tile_dpbf16ps(0, 5, 6);
        _tile_loadd(7, p + LINE, 2 * ROW);
        _tile_dpbf16ps(1, 5, 7);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(6, p + ROW, 2 * ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p + ROW + LINE, 2 * ROW);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, out, ROW);
    _tile_stored(1, out + LINE, ROW);
}

/* --- a block of queries ----------------------------------------------------------------- */

/* The scratch, cut up. */
typedef struct work {
    float *q;       /* [d, QUERIES]; the result in the end */
    float *out;     /* [d rounded up to 16, QUERIES] */
    char *q_pairs;  /* [depth / 2] of ROW */
    float *s;       /* [KEYS, QUERIES]: scores, then pairs of weights */
    float *max, *sum; /* [QUERIES] */
    size_t columns; /* of QUERIES that are in use, rounded up to 32 */
} work;

static size_t scratch_bytes(size_t d)
{
    return (d + round_up(d, SIDE) + depth_of(d) / 2 + KEYS + 2) * ROW;
}

/* Element t of q' q' q" over d channels, of 16 queries. */
static inline __m512 query_part(const float *q, size_t t, size_t d)
{
    __m512 x;

    if (t >= 3 * d)
        return _mm512_setzero_ps();
    x = _mm512_load_ps(q + t % d * QUERIES);
    return t < 2 * d ? x : _mm512_sub_ps(x, high_of(x));
}

static void start(work *w, const dr_attention_block *a, void *scratch)
{
    const size_t depth = depth_of(a->d);

    w->q = scratch;
    w->out = w->q + a->d * QUERIES;
    w->q_pairs = (char *)(w->out + round_up(a->d, SIDE) * QUERIES);
    w->s = (float *)(w->q_pairs + depth / 2 * ROW);
    w->max = w->s + KEYS * QUERIES;
    w->sum = w->max + QUERIES;
    w->columns = round_up(a->queries, 2 * SIDE);
    queries_to_lanes(w->q, QUERIES, a);
    for (size_t t = 0; t < depth; t += 2)
        for (size_t i = 0; i < w->columns; i += SIDE)
            _mm512_store_si512(w->q_pairs + t / 2 * ROW + i * sizeof(float),
                               pairs(query_part(w->q + i, t, a->d), query_part(w->q + i, t + 1, a->d)));
    memset(w->out, 0, round_up(a->d, SIDE) * ROW);
    for (size_t i = 0; i < QUERIES; i++) {
        w->max[i] = -FLT_MAX;
        w->sum[i] = 0.0f;
    }
}

static void scores(work *w, const char *k, size_t d, size_t keys)
{
    const size_t depth = depth_of(d);

    STORES_ARE_DONE;
    for (size_t i = 0; i < keys; i += 2 * SIDE)
        for (size_t j = 0; j < w->columns; j += 2 * SIDE)
            score_tiles((char *)(w->s + i * QUERIES + j), k + i * depth * sizeof(uint16_t),
                        w->q_pairs + j * sizeof(float), depth);
}

/* Two keys' scores of 16 queries become pairs of weights, in place; their sum. */
static inline __m512 weigh_pair(float *s, __m512 max)
{
    const __m512 even = vec_exp2(_mm512_load_ps(s) - max);
    const __m512 odd = vec_exp2(_mm512_load_ps(s + QUERIES) - max);

    _mm512_store_si512(s, pairs(even, odd));
    _mm512_store_si512(s + QUERIES, pairs(even - high_of(even), odd - high_of(odd)));
    return even + odd;
}

/* Scores become weights; max, sum and out move on.  All vectors of a key at once: each is a chain of
 * maxima and one of sums, and a chain alone would wait for itself.  Keys up to a multiple of 32
 * that do not exist get a weight that counts for nothing. */
static void weights(work *w, size_t d, size_t keys)
{
    const size_t rows = round_up(keys, DEPTH);
    __m512 max[VECTORS], sum[VECTORS], factor[VECTORS];

    for (size_t i = keys * QUERIES; i < rows * QUERIES; i++)
        w->s[i] = HIDDEN;
    UNROLL for (int v = 0; v < VECTORS; v++)
        max[v] = _mm512_load_ps(w->max + v * SIDE);
    for (size_t i = 0; i < keys; i++)
        UNROLL for (int v = 0; v < VECTORS; v++)
            max[v] = vec_max(max[v], _mm512_load_ps(w->s + i * QUERIES + v * SIDE));
    UNROLL for (int v = 0; v < VECTORS; v++) {
        factor[v] = vec_exp2(_mm512_load_ps(w->max + v * SIDE) - max[v]);
        _mm512_store_ps(w->max + v * SIDE, max[v]);
        sum[v] = _mm512_load_ps(w->sum + v * SIDE) * factor[v];
    }
    for (size_t i = 0; i < rows; i += 2)
        UNROLL for (int v = 0; v < VECTORS; v++)
            sum[v] = sum[v] + weigh_pair(w->s + i * QUERIES + v * SIDE, max[v]);
    UNROLL for (int v = 0; v < VECTORS; v++)
        _mm512_store_ps(w->sum + v * SIDE, sum[v]);
    for (size_t j = 0; j < d; j++)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            float *out = w->out + j * QUERIES + v * SIDE;

            _mm512_store_ps(out, _mm512_load_ps(out) * factor[v]);
        }
}

static void values(work *w, const char *v, size_t d, size_t keys)
{
    const size_t steps = (keys + DEPTH - 1) / DEPTH, v_step = value_step_bytes(d);

    STORES_ARE_DONE;
    for (size_t c = 0; c < d; c += 2 * SIDE, v += 4 * TILE)
        for (size_t j = 0; j < w->columns; j += 2 * SIDE) {
            char *out = (char *)(w->out + c * QUERIES + j);
            const char *p = (const char *)(w->s + j);

            if (d - c > SIDE)
                value_tiles_32(out, v, v_step, p, steps);
            else
                value_tiles_16(out, v, v_step, p, steps);
        }
}

static void block(const dr_attention_block *a, void *scratch)
{
    const size_t seen = keys_seen(a);
    const char *k = a->packed;
    work w;

    _tile_loadconfig(&eight_tiles);
    start(&w, a, scratch);
    for (size_t key = 0; key < seen; key += KEYS, k += packed_bytes(a->d)) {
        const size_t keys = seen - key < KEYS ? seen - key : KEYS;

        scores(&w, k, a->d, keys);
        if (a->causal)
            hide_later_keys(w.s, QUERIES, a, key, keys);
        weights(&w, a->d, keys);
        values(&w, k + key_bytes(a->d), a->d, keys);
    }
    lanes_to_queries(a, w.out, QUERIES, w.sum);
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
