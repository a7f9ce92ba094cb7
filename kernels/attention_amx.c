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
 *     queries        for each 16: [depth / 2 pairs][16][2] of q' q' q"                   b
 *     weights        for each 16: [KEYS / 2 pairs][p' or p"][16][2], where the scores were b
 *
 * Such a panel of 16 queries is one column of tiles without gaps: with all 64 side by side, rows
 * 256 bytes apart would compete for a quarter of the first-level cache's sets.
 *
 * Denormals count as zero here.  Compiled for its instruction set by the line below, not by the Makefile. */
#pragma GCC target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")

#include "kernels/attention_lanes.h"

#include <float.h>

enum {
    SIDE = 16,   /* rows of a tile; columns of float32 */
    DEPTH = 32,  /* bfloat16 in a tile's row */
    TILE = 1024, /* bytes */
    LINE = 64,   /* bytes of a tile's row */
    KEYS = 96,   /* 32 to 128 are equally fast for d = 40; larger heads want many */
    PANELS = 4,  /* of 16 queries */
    QUERIES = PANELS * SIDE,
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

/* Scores of 32 keys and the 32 queries of two panels. */
static void score_tiles(float *const s[2], const char *k, char *const q[2], size_t depth)
{
    const size_t k_stride = depth * sizeof(uint16_t);
    const char *q0 = q[0], *q1 = q[1];

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < depth; i += DEPTH, k += LINE, q0 += TILE, q1 += TILE) {
        _tile_loadd(4, k, k_stride);
        _tile_loadd(6, q0, LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, q1, LINE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, k + SIDE * k_stride, k_stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, s[0], LINE);
    _tile_stored(1, s[1], LINE);
    _tile_stored(2, s[0] + SIDE * SIDE, LINE);
    _tile_stored(3, s[1] + SIDE * SIDE, LINE);
}

/* 32 channels and 32 queries of o += V^T p, over `steps` of 32 keys. */
static void value_tiles_32(float *const out[2], const char *v, size_t v_step, float *const p[2], size_t steps)
{
    const char *p0 = (const char *)p[0], *p1 = (const char *)p[1];

    _tile_loadd(0, out[0], LINE);
    _tile_loadd(1, out[1], LINE);
    _tile_loadd(2, out[0] + SIDE * SIDE, LINE);
    _tile_loadd(3, out[1] + SIDE * SIDE, LINE);
    for (size_t i = 0; i < steps; i++, v += v_step, p0 += 2 * TILE, p1 += 2 * TILE) {
        _tile_loadd(4, v + TILE, LINE);
        _tile_loadd(6, p0, 2 * LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p1, 2 * LINE);
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
        _tile_loadd(6, p0 + LINE, 2 * LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p1 + LINE, 2 * LINE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out[0], LINE);
    _tile_stored(1, out[1], LINE);
    _tile_stored(2, out[0] + SIDE * SIDE, LINE);
    _tile_stored(3, out[1] + SIDE * SIDE, LINE);
}

/* The same sums for the last 16 channels. */
static void value_tiles_16(float *const out[2], const char *v, size_t v_step, float *const p[2], size_t steps)
{
    const char *p0 = (const char *)p[0], *p1 = (const char *)p[1];

    _tile_loadd(0, out[0], LINE);
    _tile_loadd(1, out[1], LINE);
    for (size_t i = 0; i < steps; i++, v += v_step, p0 += 2 * TILE, p1 += 2 * TILE) {
        _tile_loadd(4, v, LINE);
        _tile_loadd(5, v + TILE, LINE);
        _tile_loadd(6, p0, 2 * LINE);
        _tile_dpbf16ps(0, 5, 6);
        _tile_loadd(7, p1, 2 * LINE);
        _tile_dpbf16ps(1, 5, 7);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(6, p0 + LINE, 2 * LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p1 + LINE, 2 * LINE);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, out[0], LINE);
    _tile_stored(1, out[1], LINE);
}

/* --- a block of queries ----------------------------------------------------------------- */

/* The scratch, cut up. */
typedef struct work {
    float *q[PANELS];                 /* [d, 16], in units of log2 */
    float *out[PANELS];               /* [d rounded up to 16, 16] */
    float *s[PANELS];                 /* [KEYS, 16]: scores, then pairs of weights */
    char *q_pairs[PANELS];            /* [depth / 2] lines */
    float *max[PANELS], *sum[PANELS]; /* [16] */
    int panels;                       /* in use: 2 or 4 */
} work;

static size_t panel_bytes(size_t d)
{
    return (d + round_up(d, SIDE) + KEYS + depth_of(d) / 2 + 2) * LINE;
}

static size_t scratch_bytes(size_t d)
{
    return PANELS * panel_bytes(d);
}

/* Element t of q' q' q" over d channels, of 16 queries. */
static inline __m512 query_part(const float *q, size_t t, size_t d)
{
    if (t < d)
        return _mm512_load_ps(q + t * SIDE);
    if (t < 2 * d)
        return _mm512_load_ps(q + (t - d) * SIDE);
    if (t < 3 * d) {
        const __m512 x = _mm512_load_ps(q + (t - 2 * d) * SIDE);

        return x - high_of(x);
    }
    return _mm512_setzero_ps();
}

static void start_panel(work *w, int i, const dr_attention_block *a, char *scratch)
{
    const size_t depth = depth_of(a->d);
    float *at = (float *)(scratch + (size_t)i * panel_bytes(a->d));

    w->q[i] = at;
    w->out[i] = w->q[i] + a->d * SIDE;
    w->s[i] = w->out[i] + round_up(a->d, SIDE) * SIDE;
    w->max[i] = w->s[i] + KEYS * SIDE;
    w->sum[i] = w->max[i] + SIDE;
    w->q_pairs[i] = (char *)(w->sum[i] + SIDE);
    queries_to_lanes(w->q[i], SIDE, a, (size_t)i * SIDE);
    for (size_t t = 0; t < depth; t += 2)
        _mm512_store_si512(w->q_pairs[i] + t / 2 * LINE,
                           pairs(query_part(w->q[i], t, a->d), query_part(w->q[i], t + 1, a->d)));
    memset(w->out[i], 0, round_up(a->d, SIDE) * LINE);
    _mm512_store_ps(w->max[i], vec_all(-FLT_MAX));
    _mm512_store_ps(w->sum[i], vec_all(0.0f));
}

static void scores(const work *w, const char *k, size_t d, size_t keys)
{
    const size_t depth = depth_of(d);

    STORES_ARE_DONE;
    for (size_t i = 0; i < keys; i += 2 * SIDE)
        for (int j = 0; j < w->panels; j += 2)
            score_tiles((float *const[]){ w->s[j] + i * SIDE, w->s[j + 1] + i * SIDE },
                        k + i * depth * sizeof(uint16_t), &w->q_pairs[j], depth);
}

/* Two keys' scores of 16 queries become pairs of weights, in place; their sum. */
static inline __m512 weigh_pair(float *s, __m512 max)
{
    const __m512 even = vec_exp2(_mm512_load_ps(s) - max);
    const __m512 odd = vec_exp2(_mm512_load_ps(s + SIDE) - max);

    _mm512_store_si512(s, pairs(even, odd));
    _mm512_store_si512(s + SIDE, pairs(even - high_of(even), odd - high_of(odd)));
    return even + odd;
}

/* Scores of all panels become weights; max, sum and out move on.  The panels go abreast: each is a chain of
 * maxima and one of sums, and a chain alone would wait for itself.  Keys up to a multiple of 32
 * that do not exist get a weight that counts for nothing. */
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
    const size_t steps = (keys + DEPTH - 1) / DEPTH, v_step = value_step_bytes(d);

    STORES_ARE_DONE;
    for (size_t c = 0; c < d; c += 2 * SIDE, v += 4 * TILE)
        for (int j = 0; j < w->panels; j += 2) {
            float *const out[2] = { w->out[j] + c * SIDE, w->out[j + 1] + c * SIDE };

            if (d - c > SIDE)
                value_tiles_32(out, v, v_step, &w->s[j], steps);
            else
                value_tiles_16(out, v, v_step, &w->s[j], steps);
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
        values(&w, k + key_bytes(a->d), a->d, keys);
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
