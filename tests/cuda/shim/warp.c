/* warp.c - the instructions of a whole warp, from the PTX ISA's pictures of their fragments.
 *
 * With g = lane / 4 and t = lane % 4, pairs (lower half first) and values of m16n8k16 are
 *
 *     A [16, 16]   a[0] (g, 2t)   a[1] (g + 8, 2t)   a[2] (g, 2t + 8)   a[3] (g + 8, 2t + 8)
 *     B [16, 8]    b[0] (2t, g)   b[1] (2t + 8, g)                          pairs go down a column
 *     C [16, 8]    c[0], c[1] (g, 2t)   c[2], c[3] (g + 8, 2t)              pairs go along a row */
#include "tests/cuda/shim/run.h"

#include "base/half.h"

#include <string.h>

static void run_nothing(void *const operands[])
{
    (void)operands;
}

static void run_shuffle(void *const operands[])
{
    uint32_t values[SHIM_LANES] = { 0 };

    for (int i = 0; i < SHIM_LANES; i++)
        if (operands[i])
            values[i] = ((shim_shuffle *)operands[i])->value;
    for (int i = 0; i < SHIM_LANES; i++) {
        shim_shuffle *s = operands[i];

        if (!s)
            continue;
        /* What a lane outside the mask would give is undefined: here it is NaN. */
        s->value = operands[s->source & 31] ? values[s->source & 31] : UINT32_MAX;
    }
}

static void run_ldmatrix(void *const operands[])
{
    for (int lane = 0; lane < SHIM_LANES; lane++) {
        shim_ldmatrix *l = operands[lane];
        const int g = lane / 4, t = lane % 4;

        for (int m = 0; m < 4; m++) {
            uint16_t pair[2];

            for (int i = 0; i < 2; i++) {
                const int row = l->transposed ? 2 * t + i : g, column = l->transposed ? g : 2 * t + i;
                const shim_ldmatrix *from = operands[8 * m + row];

                memcpy(&pair[i], (const uint16_t *)from->row + column, sizeof(pair[i]));
            }
            l->out[m] = pair[0] | (uint32_t)pair[1] << 16;
        }
    }
}

static float half_of(uint32_t pair, int upper, bool bf16)
{
    const uint16_t h = (uint16_t)(upper ? pair >> 16 : pair);

    return bf16 ? dr_float_from_bf16(h) : dr_float_from_f16(h);
}

/* The hardware's order of the 16 products is its own: here it is the channels'. */
static void run_mma(void *const operands[])
{
    float a[16][16], b[16][8], c[16][8];

    for (int lane = 0; lane < SHIM_LANES; lane++) {
        const shim_mma *m = operands[lane];
        const int g = lane / 4, t = lane % 4;

        for (int i = 0; i < 8; i++)
            a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = half_of(m->a[i / 2], i % 2, m->bf16);
        for (int i = 0; i < 4; i++) {
            b[2 * t + i % 2 + i / 2 * 8][g] = half_of(m->b[i / 2], i % 2, m->bf16);
            c[g + i / 2 * 8][2 * t + i % 2] = m->c[i];
        }
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++)
                c[i][j] += a[i][k] * b[k][j];
    for (int lane = 0; lane < SHIM_LANES; lane++) {
        const shim_mma *m = operands[lane];
        const int g = lane / 4, t = lane % 4;

        for (int i = 0; i < 4; i++)
            m->c[i] = c[g + i / 2 * 8][2 * t + i % 2];
    }
}

const shim_instruction shim_syncwarp_instruction = { "__syncwarp", run_nothing, SHIM_LANES };
const shim_instruction shim_shuffle_instruction = { "__shfl_sync", run_shuffle, SHIM_LANES };
const shim_instruction shim_ldmatrix_instruction = { "ldmatrix", run_ldmatrix, SHIM_LANES };
const shim_instruction shim_mma_instruction = { "mma.sync", run_mma, SHIM_LANES };
