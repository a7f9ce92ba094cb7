/* matmul_isa.c - float32 products with vectors of any width.
 *
 * A tile of c stays in registers: ROWS rows of two vectors.  With two vectors of weights and one broadcast
 * they fill the register file.  A channel takes two loads, ROWS broadcasts and 2 ROWS multiply-adds.  If
 * the number of rows is no multiple of ROWS, tiles are lower. */
#include "kernels/matmul.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, ROWS = 14 }; /* 32 registers */
typedef __m512 vector;
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define STREAM(to, x) _mm512_stream_ps(to, x)
#elif defined(__AVX2__)
enum { WIDTH = 8, ROWS = 6 }; /* 16 registers */
typedef __m256 vector;
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#define STREAM(to, x) _mm256_stream_ps(to, x)
#else
enum { WIDTH = 4, ROWS = 6 };
typedef __m128 vector;
#define MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define STREAM(to, x) _mm_stream_ps(to, x)
#endif

typedef float anywhere __attribute__((vector_size(sizeof(vector)), aligned(4), may_alias));

enum { PANEL = 2 * WIDTH, LINE = 16 /* floats in a cache line */ };

/* An odd number of cache lines: rows that are a power of two apart would all be in one set of the cache.
 * Short rows need no padding, because a tile of them fits into the cache anyway. */
static int row_floats(int in)
{
    const int lines = (in + LINE - 1) / LINE;

    return (lines > 8 ? lines | 1 : lines) * LINE;
}

static size_t operand_stride(int in)
{
    return (size_t)row_floats(in) * sizeof(float);
}

static size_t panel_bytes(int in)
{
    return (size_t)in * PANEL * sizeof(float);
}

static void load(void *operand, const float *x, size_t ld, int rows, int in)
{
    float *to = operand;

    for (int r = 0; r < rows; r++)
        memcpy(to + (size_t)r * (size_t)row_floats(in), x + (size_t)r * ld, (size_t)in * sizeof(float));
}

static void pack(void *to, const float *w, size_t out_stride, size_t in_stride, int columns, int in)
{
    float *panel = to;

    for (int k = 0; k < in; k++)
        for (int j = 0; j < PANEL; j++)
            panel[k * PANEL + j] = j < columns ? w[(size_t)j * out_stride + (size_t)k * in_stride] : 0;
}

/* Computes one tile of `height` rows, unrolled.  Only every third row has a pointer, because so many
 * pointers fit into registers.  The rows between are reached by an index. */
static inline __attribute__((always_inline)) void tile(float *c, const char *operand, const ptrdiff_t *shift,
                                                       int taps, const float *panel, int in, bool accumulate,
                                                       const int height)
{
    const size_t stride = (size_t)row_floats(in);
    vector sum[ROWS][2];

#pragma GCC unroll 16
    for (int r = 0; r < height; r++) {
        sum[r][0] = (vector){ 0 };
        sum[r][1] = (vector){ 0 };
    }
    for (int t = 0; t < taps; t++) {
        const float *base[(ROWS + 2) / 3];

#pragma GCC unroll 16
        for (int i = 0; i < (height + 2) / 3; i++)
            base[i] = (const float *)(operand + shift[t]) + (size_t)(3 * i) * stride;
        for (int k = 0; k < in; k++, panel += PANEL) {
            const vector w0 = *(const vector *)panel, w1 = *(const vector *)(panel + WIDTH);

#pragma GCC unroll 16
            for (int r = 0; r < height; r++) {
                const vector a = base[r / 3][(size_t)(r % 3) * stride + (size_t)k] - (vector){ 0 };

                sum[r][0] = MULTIPLY_ADD(a, w0, sum[r][0]);
                sum[r][1] = MULTIPLY_ADD(a, w1, sum[r][1]);
            }
        }
    }
    /* Sums some thousand terms in parts: the error grows with the square root of the number of terms in a
     * part. */
#pragma GCC unroll 16
    for (int r = 0; r < height; r++) {
        vector *to = (vector *)(c + r * PANEL);

        if (accumulate) {
            sum[r][0] += to[0];
            sum[r][1] += to[1];
        }
        to[0] = sum[r][0];
        to[1] = sum[r][1];
    }
}

typedef void tile_fn(float *c, const char *operand, const ptrdiff_t *shift, int taps, const float *panel,
                     int in, bool accumulate);

#define TILE_OF(height)                                                                           \
    static void tile_of_##height(float *c, const char *operand, const ptrdiff_t *shift, int taps, \
                                 const float *panel, int in, bool accumulate)                     \
    {                                                                                             \
        tile(c, operand, shift, taps, panel, in, accumulate, height);                             \
    }
TILE_OF(2)
TILE_OF(4)
TILE_OF(6)
#if defined(__AVX512F__)
TILE_OF(8)
TILE_OF(10)
TILE_OF(12)
TILE_OF(14)
#endif

/* Indexed by half the height. */
static tile_fn *const tiles[ROWS / 2 + 1] = {
    NULL,      tile_of_2,  tile_of_4,  tile_of_6,
#if defined(__AVX512F__)
    tile_of_8, tile_of_10, tile_of_12, tile_of_14,
#endif
};

/* Divides rows into tiles of nearly the same height: a last tile of two rows would wait for its own sums. */
static void multiply(float *c, const void *operand, const ptrdiff_t *shift, int taps, const void *panel,
                     int in, int rows, bool accumulate)
{
    const int pairs = (rows + 1) / 2, count = (2 * pairs + ROWS - 1) / ROWS;

    for (int i = 0, r = 0; i < count; i++) {
        const int half = pairs / count + (i < pairs % count);

        tiles[half](c + r * PANEL, (const char *)operand + (size_t)r * operand_stride(in), shift, taps, panel,
                    in, accumulate);
        r += 2 * half;
    }
}

/* Only whole cache lines go around the caches: to write half a line so takes longer than to write it
 * through them. */
static bool streams(const dr_matmul_finish *f)
{
    return f->stream && (uintptr_t)f->y % sizeof(vector) == 0 && f->y_ld % WIDTH == 0;
}

/* Finish columns [at, at + WIDTH) of all rows, without an activation. */
static inline void finish_vectors(const dr_matmul_finish *f, const float *c, int rows, int at, bool past)
{
    const vector bias = *(const anywhere *)(f->bias + at);
    vector row_bias = { 0 };

    if (f->row_bias)
        row_bias = *(const anywhere *)(f->row_bias + at);
    for (int r = 0; r < rows; r++) {
        float *y = f->y + (size_t)r * f->y_ld + at;
        vector sum = *(const vector *)(c + r * PANEL + at) + bias + row_bias;

        if (f->residual)
            sum += *(const anywhere *)(f->residual + (size_t)r * f->residual_ld + at);
        if (past)
            STREAM(y, sum);
        else
            *(anywhere *)y = sum;
    }
}

static void finish_row(const dr_matmul_finish *f, float *sum, int r, int columns)
{
    const float *residual = f->residual ? f->residual + (size_t)r * f->residual_ld : NULL;

#pragma omp simd
    for (int j = 0; j < columns; j++)
        sum[j] += f->bias[j];
    if (f->row_bias)
#pragma omp simd
        for (int j = 0; j < columns; j++)
            sum[j] += f->row_bias[j];
    if (f->activation)
        f->activation(sum, sum, (size_t)columns);
    if (residual)
#pragma omp simd
        for (int j = 0; j < columns; j++)
            sum[j] += residual[j];
    memcpy(f->y + (size_t)r * f->y_ld, sum, (size_t)columns * sizeof(float));
}

static void finish(const dr_matmul_finish *f, float *c, int rows, int columns)
{
    if (columns == PANEL && !f->activation) {
        const bool past = streams(f);

        for (int at = 0; at < PANEL; at += WIDTH)
            finish_vectors(f, c, rows, at, past);
    } else {
        for (int r = 0; r < rows; r++)
            finish_row(f, c + r * PANEL, r, columns);
    }
}

static void settle(void)
{
    _mm_sfence();
}

const dr_matmul_kernels DR_ISA_NAME(dr_matmul_kernels) = {
    .panel = PANEL,
    .tile = 2,
    .operand_stride = operand_stride,
    .panel_bytes = panel_bytes,
    .load = load,
    .pack = pack,
    .multiply = multiply,
    .finish = finish,
    .settle = settle,
};
