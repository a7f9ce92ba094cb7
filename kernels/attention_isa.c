#include "kernels/attention_lanes.h"

#include <float.h>

/* Both products sum into a tile of TILE x VECTORS registers.  Together with VECTORS registers of the
 * right operand and one broadcast, the tile just fits into the register file (32 or 16). */
#if defined(__AVX512F__)
enum { TILE = 6, VECTORS = 4 };
#elif defined(__AVX2__)
enum { TILE = 6, VECTORS = 2 };
#else
enum { TILE = 4, VECTORS = 2 };
#endif

enum {
    QUERIES = VECTORS * DR_LANES,
    KEYS = 96,   /* a block's weights, KEYS * QUERIES floats, stay in the first-level cache */
    DEPTH = 128, /* channels of q^T at a time, for the same reason */
};

/* c[i][q] = factor[q] c[i][q] + sum over k < n of a[i * ai + k * ak] * b[k][q], for i < rows and `vectors`
 * vectors of q.  Without a factor c begins as zero. */
typedef struct product {
    float *c;
    const float *a;
    size_t ai, ak;
    const float *b;
    size_t n;
    const float *factor; /* [QUERIES] or NULL */
} product;

/* The pragma unrolls these loops: only then do the sums stay in registers from beginning to end. */
static inline __attribute__((always_inline)) void tile(const product *m, const int rows, const int vectors)
{
    const float *a = m->a, *b = m->b;
    const size_t ai = m->ai, ak = m->ak;
    dr_vec sum[TILE][VECTORS];

    if (!m->factor) {
        UNROLLED (i, rows)
            UNROLLED (v, vectors)
                sum[i][v] = vec_all(0.0f);
    } else {
        dr_vec factor[VECTORS];

        UNROLLED (v, vectors)
            factor[v] = vec_load(m->factor + v * DR_LANES);
        UNROLLED (i, rows)
            UNROLLED (v, vectors)
                sum[i][v] = vec_load(m->c + i * QUERIES + v * DR_LANES) * factor[v];
    }
    for (size_t k = 0; k < m->n; k++, a += ak, b += QUERIES) {
        dr_vec right[VECTORS];

        UNROLLED (v, vectors)
            right[v] = vec_load(b + v * DR_LANES);
        UNROLLED (i, rows) {
            const dr_vec left = vec_all(a[(size_t)i * ai]);

            UNROLLED (v, vectors)
                sum[i][v] = vec_fma(left, right[v], sum[i][v]);
        }
    }
    UNROLLED (i, rows)
        UNROLLED (v, vectors)
            vec_store(m->c + i * QUERIES + v * DR_LANES, sum[i][v]);
}

#define TILE_FUNCTION(rows, vectors)                      \
    static void tile_##rows##_##vectors(const product *m) \
    {                                                     \
        tile(m, rows, vectors);                           \
    }
#define TILE_FUNCTIONS(vectors) \
    TILE_FUNCTION(1, vectors)   \
    TILE_FUNCTION(2, vectors)   \
    TILE_FUNCTION(3, vectors)   \
    TILE_FUNCTION(4, vectors)
#define TILE_NAMES(vectors) tile_1_##vectors, tile_2_##vectors, tile_3_##vectors, tile_4_##vectors

#if defined(__AVX2__)
#define TALL_FUNCTIONS(vectors) TILE_FUNCTION(5, vectors) TILE_FUNCTION(6, vectors)
#define TALL_NAMES(vectors) , tile_5_##vectors, tile_6_##vectors
#else
#define TALL_FUNCTIONS(vectors)
#define TALL_NAMES(vectors)
#endif

#define EACH_ROWS(vectors) TILE_FUNCTIONS(vectors) TALL_FUNCTIONS(vectors)
#define ROW_NAMES(vectors)                      \
    {                                           \
        TILE_NAMES(vectors) TALL_NAMES(vectors) \
    }

EACH_ROWS(1)
EACH_ROWS(2)
#if defined(__AVX512F__)
EACH_ROWS(3)
EACH_ROWS(4)
#endif

typedef void tile_fn(const product *m);

/* Indexed by vectors - 1 and rows - 1. */
static tile_fn *const tiles[VECTORS][TILE] = {
    ROW_NAMES(1),
    ROW_NAMES(2),
#if defined(__AVX512F__)
    ROW_NAMES(3),
    ROW_NAMES(4),
#endif
};

/* The product for any number of rows, in tiles whose heights differ by at most one. */
static void multiply(product m, size_t rows, int vectors)
{
    const size_t count = (rows + TILE - 1) / TILE;

    for (size_t t = 0, row = 0; t < count; t++) {
        const size_t height = rows / count + (t < rows % count);

        tiles[vectors - 1][height - 1](&m);
        m.c += height * QUERIES;
        m.a += height * m.ai;
        row += height;
    }
}

/* A packed block: keys and values, each [KEYS, d]. */
static size_t packed_bytes(size_t d)
{
    return 2 * KEYS * d * sizeof(float);
}

static void pack(void *to, const float *k, size_t k_ld, const float *v, size_t v_ld, size_t keys, size_t d)
{
    float *key = to, *value = key + KEYS * d;

    for (size_t i = 0; i < keys; i++) {
        memcpy(key + i * d, k + i * k_ld, d * sizeof(*key));
        memcpy(value + i * d, v + i * v_ld, d * sizeof(*value));
    }
}

/* The parts of the scratch, for one block of queries. */
typedef struct work {
    float *q;                  /* [d, QUERIES] */
    float *out;                /* [d, QUERIES] */
    float *s;                  /* [KEYS, QUERIES]: scores, then weights */
    float *max, *sum, *factor; /* [QUERIES] */
    int vectors;
} work;

static size_t scratch_bytes(size_t d)
{
    return (2 * d + KEYS + 4) * QUERIES *
           sizeof(float); /* one row more than is used, so that it has whole cache lines */
}

static void start(work *w, const dr_attention_block *a, float *scratch)
{
    w->q = scratch;
    w->out = w->q + a->d * QUERIES;
    w->s = w->out + a->d * QUERIES;
    w->max = w->s + KEYS * QUERIES;
    w->sum = w->max + QUERIES;
    w->factor = w->sum + QUERIES;
    w->vectors = (int)((a->queries + DR_LANES - 1) / DR_LANES);
    queries_to_lanes(w->q, QUERIES, a, 0);
    for (size_t i = 0; i < QUERIES; i++) {
        w->max[i] = -FLT_MAX;
        w->sum[i] = 0.0f;
    }
}

static void scores(work *w, const float *k, size_t d, size_t keys)
{
    static const float one[QUERIES] = { [0 ... QUERIES - 1] = 1.0f };

    for (size_t j = 0; j < d; j += DEPTH) {
        const product m = {
            .c = w->s,
            .a = k + j,
            .ai = d,
            .ak = 1,
            .b = w->q + j * QUERIES,
            .n = d - j < DEPTH ? d - j : DEPTH,
            .factor = j ? one : NULL,
        };
        multiply(m, keys, w->vectors);
    }
}

/* Turn the scores into weights, and update max, sum and factor.  All vectors of a key are done side by
 * side.  Each vector is a chain of maxima and a chain of sums, and one chain alone would wait for its own
 * results. */
static inline __attribute__((always_inline)) void weigh(work *w, size_t keys, const int vectors)
{
    dr_vec max[VECTORS], sum[VECTORS];

    UNROLLED (v, vectors)
        max[v] = vec_load(w->max + v * DR_LANES);
    for (size_t i = 0; i < keys; i++)
        UNROLLED (v, vectors)
            max[v] = vec_max(max[v], vec_load(w->s + i * QUERIES + v * DR_LANES));
    UNROLLED (v, vectors) {
        vec_store(w->factor + v * DR_LANES, vec_exp2(vec_load(w->max + v * DR_LANES) - max[v]));
        vec_store(w->max + v * DR_LANES, max[v]);
        sum[v] = vec_all(0.0f);
    }
    for (size_t i = 0; i < keys; i++)
        UNROLLED (v, vectors) {
            float *s = w->s + i * QUERIES + v * DR_LANES;
            const dr_vec weight = vec_exp2(vec_load(s) - max[v]);

            sum[v] = sum[v] + weight;
            vec_store(s, weight);
        }
    UNROLLED (v, vectors) {
        float *l = w->sum + v * DR_LANES;

        vec_store(l, vec_fma(vec_load(l), vec_load(w->factor + v * DR_LANES), sum[v]));
    }
}

static void weights(work *w, size_t keys)
{
    switch (w->vectors) {
    case 1:
        weigh(w, keys, 1);
        break;
    case 2:
        weigh(w, keys, 2);
        break;
    case 3:
        weigh(w, keys, VECTORS > 2 ? 3 : VECTORS);
        break;
    default:
        weigh(w, keys, VECTORS);
    }
}

static void values(work *w, const float *v, size_t d, size_t keys, bool first)
{
    const product m = {
        .c = w->out,
        .a = v,
        .ai = 1,
        .ak = d,
        .b = w->s,
        .n = keys,
        .factor = first ? NULL : w->factor,
    };
    multiply(m, d, w->vectors);
}

static void block(const dr_attention_block *a, void *scratch)
{
    const size_t seen = keys_seen(a);
    const float *k = a->packed;
    work w;

    start(&w, a, scratch);
    for (size_t key = 0; key < seen; key += KEYS, k += 2 * KEYS * a->d) {
        const size_t keys = seen - key < KEYS ? seen - key : KEYS;

        scores(&w, k, a->d, keys);
        if (a->causal)
            hide_later_keys(w.s, QUERIES, a, 0, key, keys);
        weights(&w, keys);
        values(&w, k + KEYS * a->d, a->d, keys, key == 0);
    }
    lanes_to_queries(a, 0, w.out, QUERIES, w.sum);
}

const dr_attention_kernels DR_ISA_NAME(dr_attention_kernels) = {
    .queries = QUERIES,
    .keys = KEYS,
    .packed_bytes = packed_bytes,
    .scratch_bytes = scratch_bytes,
    .pack = pack,
    .block = block,
};
