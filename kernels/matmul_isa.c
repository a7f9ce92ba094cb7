/* matmul_isa.c - float32 products on whatever vectors there are.
 *
 * A tile of c stays in registers: `ROWS` rows of two vectors, the most that leaves room for two of
 * weights and one broadcast.  Per channel: two loads, ROWS broadcasts, 2 ROWS multiply-adds. */
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

enum { PANEL = 2 * WIDTH, LINE = 16 /* floats in a cache line */ };

/* An odd number of cache lines: rows a power of two apart would share one set of the cache. */
static int row_floats(int in)
{
    const int lines = (in + LINE - 1) / LINE;

    return (lines | 1) * LINE;
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

/* One tile.  Rows are reached from every third one, by index: that many pointers fit in registers. */
static inline void tile(float *c, const char *operand, const ptrdiff_t *shift, int taps, const float *panel,
                        int in, bool accumulate)
{
    const size_t stride = (size_t)row_floats(in);
    vector sum[ROWS][2];

#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
        sum[r][0] = accumulate ? *(const vector *)(c + r * PANEL) : (vector){ 0 };
        sum[r][1] = accumulate ? *(const vector *)(c + r * PANEL + WIDTH) : (vector){ 0 };
    }
    for (int t = 0; t < taps; t++) {
        const float *base[(ROWS + 2) / 3];

#pragma GCC unroll 16
        for (int i = 0; i < (ROWS + 2) / 3; i++)
            base[i] = (const float *)(operand + shift[t]) + (size_t)(3 * i) * stride;
        for (int k = 0; k < in; k++, panel += PANEL) {
            const vector w0 = *(const vector *)panel, w1 = *(const vector *)(panel + WIDTH);

#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++) {
                const vector a = base[r / 3][(size_t)(r % 3) * stride + (size_t)k] - (vector){ 0 };

                sum[r][0] = MULTIPLY_ADD(a, w0, sum[r][0]);
                sum[r][1] = MULTIPLY_ADD(a, w1, sum[r][1]);
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
        *(vector *)(c + r * PANEL) = sum[r][0];
        *(vector *)(c + r * PANEL + WIDTH) = sum[r][1];
    }
}

static void multiply(float *c, const void *operand, const ptrdiff_t *shift, int taps, const void *panel,
                     int in, int rows, bool accumulate)
{
    for (int r = 0; r < rows; r += ROWS)
        tile(c + r * PANEL, (const char *)operand + (size_t)r * operand_stride(in), shift, taps, panel, in,
             accumulate);
}

/* Whole cache lines only: half a line past the caches costs more than it saves. */
static bool streams(const dr_matmul_finish *f, int columns)
{
    return f->stream && columns == PANEL && (uintptr_t)f->y % sizeof(vector) == 0 && f->y_ld % WIDTH == 0;
}

static void finish(const dr_matmul_finish *f, float *c, int rows, int columns)
{
    const bool past = streams(f, columns);

    for (int r = 0; r < rows; r++) {
        float *y = f->y + (size_t)r * f->y_ld;
        float *sum = c + r * PANEL;
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
        if (past)
            for (int j = 0; j < PANEL; j += WIDTH)
                STREAM(y + j, *(const vector *)(sum + j));
        else
            memcpy(y, sum, (size_t)columns * sizeof(float));
    }
    if (past)
        _mm_sfence(); /* such writes are seen by nobody's order: whoever is told that we are done must find them */
}

const dr_matmul_kernels DR_ISA_NAME(dr_matmul_kernels) = {
    .panel = PANEL,
    .tile = ROWS,
    .operand_stride = operand_stride,
    .panel_bytes = panel_bytes,
    .load = load,
    .pack = pack,
    .multiply = multiply,
    .finish = finish,
};
