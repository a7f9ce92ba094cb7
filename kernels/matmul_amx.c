/* matmul_amx.c - float32 products on the matrix unit of recent Xeons (AMX), which multiplies bfloat16.
 *
 * A float32 is split into a sum of two bfloat16, high and low, which is exact to 2^-17 of its size.  So
 *
 *     a w = a_high w_high + a_high w_low + a_low w_high      (a_low w_low is below the rounding)
 *
 * is three products.  The unit multiplies exactly and sums in float32.  The relative RMS error is 4.5e-6
 * for any number of channels (measured), twice the error of Winograd's transforms.  The unit does 16
 * times the multiplications of an AVX-512 core in the same time, so this is about five times faster.
 *
 *     operand   row: for each 32 channels, 32 high halves, then their 32 low halves (two cache lines)
 *     panel     for each tap and 32 channels: high and low weights, two tiles each of
 *               [16 pairs of channels][16 columns][2]: [high 0][high 1][low 0][low 1]
 *
 * Denormals count as zero here.  The pragma below names the instruction set for this file; the Makefile
 * does not. */
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

#include "kernels/amx.h"
#include "kernels/matmul.h"

enum {
    PANEL = 2 * SIDE,           /* columns: two tiles */
    STEP_OF_OPERAND = 2 * LINE, /* bytes for 32 channels */
    STEP_OF_PANEL = 4 * TILE,   /* bytes for 32 channels */
    C_STRIDE = PANEL * sizeof(float),
};

static int steps(int in)
{
    return (in + DEPTH - 1) / DEPTH;
}

/* An odd number of cache lines: rows that are a power of two apart would all be in one set of the cache. */
static size_t operand_stride(int in)
{
    return (size_t)steps(in) * STEP_OF_OPERAND + LINE;
}

static size_t panel_bytes(int in)
{
    return (size_t)steps(in) * STEP_OF_PANEL;
}

/* --- splitting ----------------------------------------------------------------------- */

/* The nearest bfloat16, as a float. */
static inline __m512 high_of(__m512 x)
{
    const __m256i half = (__m256i)_mm512_cvtneps_pbh(x);

    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline __mmask16 first_of(int n)
{
    return (__mmask16)(n >= SIDE ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

static void load(void *operand, const float *x, size_t ld, int rows, int in)
{
    const size_t stride = operand_stride(in);

    for (int r = 0; r < rows; r++) {
        const float *from = x + (size_t)r * ld;
        char *to = (char *)operand + (size_t)r * stride;

        for (int k = 0; k < in; k += DEPTH, to += STEP_OF_OPERAND) {
            const __m512 x0 = _mm512_maskz_loadu_ps(first_of(in - k), from + k);
            const __m512 x1 = _mm512_maskz_loadu_ps(first_of(in - k - SIDE), from + k + SIDE);
            const __m512 low0 = _mm512_sub_ps(x0, high_of(x0)), low1 = _mm512_sub_ps(x1, high_of(x1));

            _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x1, x0));
            _mm512_store_si512(to + LINE, (__m512i)_mm512_cvtne2ps_pbh(low1, low0));
        }
    }
}

/* Channel k of 16 columns; zeros where there are no weights. */
static inline __m512 column_values(const float *w, __m512i columns, __mmask16 mask, size_t in_stride, int k,
                                   int in)
{
    return k < in ? _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, columns, w + (size_t)k * in_stride, 4)
                  : _mm512_setzero_ps();
}

/* Two channels of 16 columns, as bfloat16 side by side. */
static inline __m512i pairs(__m512 even, __m512 odd)
{
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));

    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static void pack(void *to, const float *w, size_t out_stride, size_t in_stride, int columns, int in)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i at = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)out_stride));

    for (int step = 0; step < steps(in); step++)
        for (int side = 0; side < 2; side++)
            for (int pair = 0; pair < SIDE; pair++) {
                const float *from = w + (size_t)(side * SIDE) * out_stride;
                const __mmask16 mask = first_of(columns - side * SIDE);
                const int k = step * DEPTH + 2 * pair;
                const __m512 even = column_values(from, at, mask, in_stride, k, in);
                const __m512 odd = column_values(from, at, mask, in_stride, k + 1, in);
                char *tile = (char *)to + step * STEP_OF_PANEL + side * TILE + pair * LINE;

                _mm512_store_si512(tile, pairs(even, odd));
                _mm512_store_si512(tile + 2 * TILE, pairs(_mm512_sub_ps(even, high_of(even)),
                                                          _mm512_sub_ps(odd, high_of(odd))));
            }
}

/* --- products ------------------------------------------------------------------------- */

/* 32 rows.  Tiles 0, 1, 2 and 3 are c; 4 and 5 are rows of the operand; 6 and 7 are columns of the panel. */
static void multiply_32_rows(float *c, const char *operand, size_t stride, const ptrdiff_t *shift, int taps,
                             const char *panel, int in, bool accumulate)
{
    if (accumulate) {
        _tile_loadd(0, c, C_STRIDE);
        _tile_loadd(1, c + SIDE, C_STRIDE);
        _tile_loadd(2, c + SIDE * PANEL, C_STRIDE);
        _tile_loadd(3, c + SIDE * PANEL + SIDE, C_STRIDE);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int t = 0; t < taps; t++) {
        const char *upper = operand + shift[t], *lower = upper + SIDE * stride;

        for (int step = 0; step < steps(in); step++) {
            _tile_loadd(4, upper + LINE, stride);
            _tile_loadd(6, panel, LINE);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, panel + TILE, LINE);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, lower + LINE, stride);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            _tile_loadd(4, upper, stride);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, lower, stride);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            _tile_loadd(6, panel + 2 * TILE, LINE);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, panel + 3 * TILE, LINE);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            upper += STEP_OF_OPERAND;
            lower += STEP_OF_OPERAND;
            panel += STEP_OF_PANEL;
        }
    }
    _tile_stored(0, c, C_STRIDE);
    _tile_stored(1, c + SIDE, C_STRIDE);
    _tile_stored(2, c + SIDE * PANEL, C_STRIDE);
    _tile_stored(3, c + SIDE * PANEL + SIDE, C_STRIDE);
}

/* The same for the last 16 rows. */
static void multiply_16_rows(float *c, const char *operand, size_t stride, const ptrdiff_t *shift, int taps,
                             const char *panel, int in, bool accumulate)
{
    if (accumulate) {
        _tile_loadd(0, c, C_STRIDE);
        _tile_loadd(1, c + SIDE, C_STRIDE);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (int t = 0; t < taps; t++) {
        const char *rows = operand + shift[t];

        for (int step = 0; step < steps(in); step++) {
            _tile_loadd(4, rows + LINE, stride);
            _tile_loadd(5, rows, stride);
            _tile_loadd(6, panel, LINE);
            _tile_loadd(7, panel + TILE, LINE);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(0, 5, 6);
            _tile_dpbf16ps(1, 5, 7);
            _tile_loadd(6, panel + 2 * TILE, LINE);
            _tile_loadd(7, panel + 3 * TILE, LINE);
            _tile_dpbf16ps(0, 5, 6);
            _tile_dpbf16ps(1, 5, 7);
            rows += STEP_OF_OPERAND;
            panel += STEP_OF_PANEL;
        }
    }
    _tile_stored(0, c, C_STRIDE);
    _tile_stored(1, c + SIDE, C_STRIDE);
}

static void multiply(float *c, const void *operand, const ptrdiff_t *shift, int taps, const void *panel,
                     int in, int rows, bool accumulate)
{
    const size_t stride = operand_stride(in);
    int r = 0;

    _tile_loadconfig(&eight_tiles);
    STORES_ARE_DONE;
    for (; r + SIDE < rows; r += 2 * SIDE)
        multiply_32_rows(c + r * PANEL, (const char *)operand + (size_t)r * stride, stride, shift, taps,
                         panel, in, accumulate);
    if (r < rows)
        multiply_16_rows(c + r * PANEL, (const char *)operand + (size_t)r * stride, stride, shift, taps,
                         panel, in, accumulate);
    _tile_release();
}

static void finish(const dr_matmul_finish *f, float *c, int rows, int columns)
{
    dr_matmul_kernels_avx512.finish(f, c, rows, columns);
}

static void settle(void)
{
    dr_matmul_kernels_avx512.settle();
}

const dr_matmul_kernels dr_matmul_kernels_amx = {
    .panel = PANEL,
    .tile = SIDE,
    .operand_stride = operand_stride,
    .panel_bytes = panel_bytes,
    .load = load,
    .pack = pack,
    .multiply = multiply,
    .finish = finish,
    .settle = settle,
};
