/* winograd_isa.c - channels are the lanes of a vector, so the transforms are plain sums of vectors. */
#include "kernels/winograd.h"

#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 16 };
#elif defined(__AVX2__)
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif

typedef float vector __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));
typedef float anywhere __attribute__((vector_size(WIDTH * sizeof(float)), aligned(4), may_alias));

enum { POINTS = DR_WINOGRAD_POINTS, IN = DR_WINOGRAD_IN, OUT = DR_WINOGRAD_OUT };

/* B^T times one line or column of six. */
static inline void input_line(vector to[IN], const vector d0, const vector d1, const vector d2,
                              const vector d3, const vector d4, const vector d5)
{
    const vector even = d4 - 4 * d2, odd = d3 - 4 * d1;
    const vector even2 = d4 - d2, odd2 = 2 * (d3 - d1);

    to[0] = 4 * (d0 - d2) + (d4 - d2);
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = 4 * (d1 - d3) + (d5 - d3);
}

/* The transform of WIDTH channels from `at` on. */
static inline void input_block(float *v, size_t point, const float *const pixel[POINTS], int at)
{
    vector half[IN][IN]; /* [line of B^T, column] */
    vector line[IN];

    for (int j = 0; j < IN; j++) {
        vector d[IN];

#pragma GCC unroll 6
        for (int i = 0; i < IN; i++)
            d[i] = *(const anywhere *)(pixel[IN * i + j] + at);
        input_line(line, d[0], d[1], d[2], d[3], d[4], d[5]);
#pragma GCC unroll 6
        for (int i = 0; i < IN; i++)
            half[i][j] = line[i];
    }
    for (int i = 0; i < IN; i++) {
        input_line(line, half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5]);
#pragma GCC unroll 6
        for (int j = 0; j < IN; j++)
            *(vector *)(v + (size_t)(IN * i + j) * point + at) = line[j];
    }
}

static void input(float *v, size_t point, const float *const pixel[POINTS], int channels)
{
    float rest[POINTS][WIDTH] = { { 0 } };
    const float *rest_of[POINTS];
    int at = 0;

    for (; at + WIDTH <= channels; at += WIDTH)
        input_block(v, point, pixel, at);
    if (at == channels)
        return;
    for (int p = 0; p < POINTS; p++) {
        memcpy(rest[p], pixel[p] + at, (size_t)(channels - at) * sizeof(float));
        rest_of[p] = rest[p];
    }
    input_block(v + at, point, rest_of, 0);
}

/* G times one line or column of three. */
static inline void weight_line(vector to[IN], const vector g0, const vector g1, const vector g2)
{
    const vector even = (g0 + g2) * (-1.0f / 6), odd = g1 * (-1.0f / 6);
    const vector even2 = (g0 + 4 * g2) * (1.0f / 24), odd2 = g1 * (1.0f / 12);

    to[0] = g0 * 0.25f;
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = g2;
}

static void weights(float *u, size_t point, const float *g, int channels, int panel)
{
    for (int i = 0; i < channels; i++, g += 9 * panel, u += panel)
        for (int at = 0; at < panel; at += WIDTH) {
            vector half[IN][3]; /* [line of G, column] */
            vector line[IN];

#pragma GCC unroll 3
            for (int j = 0; j < 3; j++) {
                const float *column = g + j * panel + at;

                weight_line(line, *(const vector *)column, *(const vector *)(column + 3 * panel),
                            *(const vector *)(column + 6 * panel));
#pragma GCC unroll 6
                for (int l = 0; l < IN; l++)
                    half[l][j] = line[l];
            }
#pragma GCC unroll 6
            for (int l = 0; l < IN; l++) {
                weight_line(line, half[l][0], half[l][1], half[l][2]);
#pragma GCC unroll 6
                for (int j = 0; j < IN; j++)
                    *(vector *)(u + (size_t)(IN * l + j) * point + at) = line[j];
            }
        }
}

/* A^T times one line or column of six. */
static inline void output_line(vector to[OUT], const vector m0, const vector m1, const vector m2,
                               const vector m3, const vector m4, const vector m5)
{
    const vector even = m1 + m2, odd = m1 - m2;
    const vector even2 = m3 + m4, odd2 = m3 - m4;

    to[0] = m0 + even + even2;
    to[1] = odd + 2 * odd2;
    to[2] = even + 4 * even2;
    to[3] = odd + 8 * odd2 + m5;
}

static void output(float *y, const float *m, size_t point, int channels)
{
    for (int at = 0; at < channels; at += WIDTH) {
        vector half[OUT][IN];
        vector line[OUT];

        for (int j = 0; j < IN; j++) {
            vector d[IN];

#pragma GCC unroll 6
            for (int i = 0; i < IN; i++)
                d[i] = *(const vector *)(m + (size_t)(IN * i + j) * point + at);
            output_line(line, d[0], d[1], d[2], d[3], d[4], d[5]);
#pragma GCC unroll 4
            for (int i = 0; i < OUT; i++)
                half[i][j] = line[i];
        }
        for (int i = 0; i < OUT; i++) {
            output_line(line, half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5]);
#pragma GCC unroll 4
            for (int j = 0; j < OUT; j++)
                *(vector *)(y + (OUT * i + j) * channels + at) = line[j];
        }
    }
}

const dr_winograd_kernels DR_ISA_NAME(dr_winograd_kernels) = {
    .input = input,
    .weights = weights,
    .output = output,
};
