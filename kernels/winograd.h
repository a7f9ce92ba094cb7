/* winograd.h - the transforms of Winograd's F(4x4, 3x3).  They compute 16 outputs of a 3x3 convolution by
 * 36 multiplications a channel.  A direct sum needs 144.
 *
 *     Y = A^T [ (G g G^T) * (B^T d B) ] A      d: 6x6 inputs, g: 3x3 weights, Y: 4x4 outputs
 *
 * `*` is elementwise over the 36 points.  At each point it is a matrix product over channels, which
 * kernels/matmul.h computes.  Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks,
 * 2015, with the usual points 0, +-1, +-2, infinity.
 *
 * The result of a tile depends only on that tile.  Threads: any; nothing here has a state. */
#ifndef DR_KERNELS_WINOGRAD_H
#define DR_KERNELS_WINOGRAD_H

#include "kernels/isa.h"

#include <stddef.h>

enum { DR_WINOGRAD_POINTS = 36, DR_WINOGRAD_IN = 6, DR_WINOGRAD_OUT = 4 };

typedef struct dr_winograd_kernels {
    /* B^T d B.  pixel[6 i + j]: the channels of line i, column j of d.  Point p is written to v + p *
     * point, 64-byte aligned; up to 15 floats after `channels` are overwritten. */
    void (*input)(float *v, size_t point, const float *const pixel[DR_WINOGRAD_POINTS], int channels);

    /* G g G^T of some channels of a panel.  g: [channels, 9, panel].  Point p is written to u + p * point,
     * [channels, panel].  Both are 64-byte aligned. */
    void (*weights)(float *u, size_t point, const float *g, int channels, int panel);

    /* A^T m A.  Point p is read from m + p * point; y: [16, channels].  channels: the columns of a matmul
     * panel. */
    void (*output)(float *y, const float *m, size_t point, int channels);
} dr_winograd_kernels;

DR_EACH_ISA(dr_winograd_kernels);

#endif
