/* winograd.h - 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3) (kernels/winograd.h).
 *
 * Tiles of 6x6 inputs overlap by two and give 4x4 outputs.  The tiles of all pictures are numbered in one
 * sequence, and a thread works on a group of them:
 *
 *     tiles --input--> v [36, tiles, in]  --36 products--> m [36, panels, tiles, panel] --output--> y
 *
 * Weights are kept untransformed.  Every group of tiles transforms them, some channels of a panel at a
 * time: transformed weights are four times as large, and reading so much from memory is slower than the
 * transform.  Only small layers are kept transformed.
 *
 * A tile's numbers depend on that tile alone, so neither its group nor its batch changes a bit.  oneDNN's
 * own Winograd blocks by the batch, and the batch changes its bits. */
#ifndef DR_OPS_CPU_WINOGRAD_H
#define DR_OPS_CPU_WINOGRAD_H

#include "ops/cpu/cpu.h"

typedef struct cpu_winograd cpu_winograd;

/* Whether this layer is computed this way.  The layer and the instruction set decide that, never a batch. */
bool cpu_winograd_pays(const cpu_device *cpu, const dr_conv_desc *desc);

/* Packs a layer's weight.  *out is the caller's; untouched on failure: DR_ENOMEM. */
dr_status cpu_winograd_create(cpu_winograd **out, const cpu_device *cpu, const dr_conv_desc *desc,
                              dr_error *err);
void cpu_winograd_free(cpu_winograd *w);          /* NULL is allowed */
size_t cpu_winograd_bytes(const cpu_winograd *w); /* of the packed weight */

/* The convolution, planned or run: as dr_backend's conv2d (ops/backend.h). */
dr_status cpu_winograd_run(dr_pass *p, const cpu_winograd *w, const dr_conv2d_args *a);

#endif
