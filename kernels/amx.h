/* amx.h - what the kernels for the matrix unit of recent Xeons (AMX) share: the size of its tiles.
 *
 * Included after the pragma that names the instruction set. */
#ifndef DR_KERNELS_AMX_H
#define DR_KERNELS_AMX_H

#include <immintrin.h>
#include <stdint.h>

enum {
    SIDE = 16,          /* rows of a tile; columns of float32 */
    DEPTH = 32,         /* bfloat16 in a tile's row */
    LINE = 64,          /* bytes of a tile's row */
    TILE = SIDE * LINE, /* bytes */
};

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

#endif
