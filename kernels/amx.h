/* amx.h - the size of the tiles of recent Xeons' matrix unit (AMX), for the kernels that use it.
 *
 * Include it after the pragma that names the instruction set. */
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

/* Eight tiles of 16 rows and 64 bytes: palette 1, in the layout of the processor's manual.  It is a
 * constant because the compiler does not know that the instruction reads all of it.  The compiler would
 * leave out stores to a variable. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t rows[16];
} eight_tiles __attribute__((aligned(64))) = {
    .palette = 1,
    .line_bytes = { LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE },
    .rows = { SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE },
};

/* The compiler does not know that the next instruction loads a tile from memory: make it finish its stores
 * first. */
#define STORES_ARE_DONE __asm__ volatile("" ::: "memory")

#endif
