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

/* "tests/goldens/" + the formatted rest, in a static buffer: gone with the next call. */
const char *golden_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

json_t *golden_json(const char *name);        /* data/NAME, to be ended with json_decref() */
dr_weights *golden_weights(const char *name); /* data/NAME, to be ended with dr_weights_close() */

/* A golden's values in float32, channels last; free() them.  *shape gets its sizes: [n, c, h, w] becomes
 * n, h, w, c and [n, tokens, c] becomes n, 1, tokens, c. */
float *golden_read(const dr_weights *w, const char *name, dr_tensor *shape);

/* --- device memory ----------------------------------------------------------------- */

dr_device *open_isa(dr_isa isa); /* NULL: this machine lacks it */

/* A copy of host memory, to be ended with dr_device_free(). */
void *upload(dr_device *device, const void *host, size_t bytes);

/* A tensor of zeros, or of a golden's values; end t.data with dr_device_free(). */
dr_tensor device_tensor(dr_device *device, int n, int h, int w, int c);
dr_tensor golden_tensor(dr_device *device, const dr_weights *w, const char *name);

/* A tensor's values, channels last, in float32; free() them. */
float *download(dr_device *device, dr_tensor t);

/* --- parts ------------------------------------------------------------------------- */

/* The weights of a part of a golden model, ready to load from. */
typedef struct part {
    dr_weights *weights;
    dr_loader_state state;
} part;

dr_loader part_open(part *p, dr_device *device, const char *model, const char *name); /* "sd1", "unet" */
void part_close(part *p); /* what was loaded from it stays */

/* --- passes ------------------------------------------------------------------------ */

/* Play `body` once to plan it, then in an arena of exactly the planned size, filled with NaN:
 * asserts that it succeeds, needs all of that, and gives everything back. */
void run_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context);

/* Play `body` in arenas that are too small, from nearly enough down to nothing: asserts that each fails with
 * DR_ENOMEM and that what was taken by then is given back. */
void starve_pass(dr_device *device, void (*body)(dr_pass *p, void *context), void *context);

/* --- comparison -------------------------------------------------------------------- */

/* How far a whole network may be from the reference.  Rounding makes up to 1.1e-6 of a small one; ten times that
 * is still less than what a norm's epsilon that is wrong by a factor of ten makes.  Products in three
 * bfloat16 parts (AMX) make 2e-5: there it is what the project promises. */
static inline double network_tolerance(dr_isa isa)
{
    return isa == DR_ISA_AMX ? 1e-4 : 1e-5;
}

/* The largest difference, relative to the largest value: what is seen in a picture, whose
 * errors are judged against its range.  Relative to each value it would explode around 0; a
 * mean would hide one wrong column at the border.  NaN anywhere fails. */
void assert_close(const float *values, const float *reference, size_t n, double tolerance, const char *what);

/* t against a golden of the same shape. */
void assert_golden(dr_device *device, dr_tensor t, const dr_weights *w, const char *name, double tolerance);

/* Equal to the last bit. */
void assert_same_bits(const float *a, const float *b, size_t n, const char *what);

#endif
