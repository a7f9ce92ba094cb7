/* support.h - what the engine's parity tests share: goldens, passes, comparison.
 *
 * Tests run in the root of the tree.  Everything asserts: a test without its files has no meaning. */
#ifndef DR_TESTS_SUPPORT_SUPPORT_H
#define DR_TESTS_SUPPORT_SUPPORT_H

#include "kernels/isa.h"
#include "model/loader.h"
#include "ops/ops.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the four standard headers before it */

/* --- goldens ----------------------------------------------------------------------- */

enum { GOLDEN_MODELS = 4 };
extern const char *const golden_models[GOLDEN_MODELS]; /* sd1, sd2, inpaint, upscale */

/* "tests/goldens/" and the formatted text, in a static buffer: valid until the next call. */
const char *golden_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

json_t *golden_json(const char *name);        /* reads data/NAME; end it with json_decref() */
dr_weights *golden_weights(const char *name); /* opens data/NAME; end it with dr_weights_close() */

/* The values of a golden in float32, channels last; free() them.  *shape gets the sizes: [n, c, h, w]
 * becomes [n, h, w, c], and [n, tokens, c] becomes [n, 1, tokens, c]. */
float *golden_read(const dr_weights *w, const char *name, dr_tensor *shape);

/* --- device memory ----------------------------------------------------------------- */

/* Open a CPU device of this instruction set.  NULL: this machine does not have it. */
dr_device *open_isa(dr_isa isa);

/* Copy host memory to the device; end it with dr_device_free(). */
void *upload(dr_device *device, const void *host, size_t bytes);

/* A tensor of zeros, or of a golden's values, on the device; end t.data with dr_device_free(). */
dr_tensor device_tensor(dr_device *device, int n, int h, int w, int c);
dr_tensor golden_tensor(dr_device *device, const dr_weights *w, const char *name);

/* The values of a tensor in float32, channels last; free() them. */
float *download(dr_device *device, dr_tensor t);

/* --- parts ------------------------------------------------------------------------- */

/* The weights of a part of a golden model, open for loading. */
typedef struct part {
    dr_weights *weights;
    dr_loader_state state;
} part;

/* Open a part, such as "unet" of "sd1".  Returns the loader at its root. */
dr_loader part_open(part *p, dr_device *device, const char *model, const char *name);

/* Close the part.  Layers that were loaded from it stay. */
void part_close(part *p);

/* --- passes ------------------------------------------------------------------------ */

/* Play `body` once to plan it, and then in an arena of exactly the planned size, filled with NaN.  Asserts
 * that it succeeds, needs the whole arena, and releases everything. */
void run_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context);

/* Play `body` in arenas that are too small, from nearly large enough down to nothing.  Asserts that each
 * fails with DR_ENOMEM and releases what it had taken. */
void starve_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context);

/* --- comparison -------------------------------------------------------------------- */

/* How far a whole network may be from the reference.  Rounding makes up to 1.1e-6 in a small network.  Ten
 * times that is still less than the error of a norm whose epsilon is wrong by a factor of ten.  Products
 * in three bfloat16 parts (AMX) make 2e-5; there the tolerance is what the project promises. */
static inline double network_tolerance(dr_isa isa)
{
    return isa == DR_ISA_AMX ? 1e-4 : 1e-5;
}

/* Assert that the largest difference, relative to the largest value, is within the tolerance.  This is
 * what one sees in a picture.  A difference relative to each value would be huge near 0, and a mean would
 * hide one wrong column at the border.  NaN fails. */
void assert_close(const float *values, const float *reference, size_t n, double tolerance, const char *what);

/* The same for t and a golden of the same shape. */
void assert_golden(dr_device *device, dr_tensor t, const dr_weights *w, const char *name, double tolerance);

/* Assert that all bits are equal. */
void assert_same_bits(const float *a, const float *b, size_t n, const char *what);

#endif
