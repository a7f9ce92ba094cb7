/* side.h - one operator on two devices: the same inputs, on either side in its own storage.
 *
 * A case is written once, as a function of a side:
 *
 *     side cpu   float32                     values that the GPU's storage can hold, so that the two sides
 *     side gpu   its storage (f16, bf16)     differ by arithmetic and by the rounding of the result alone
 *
 * and is called for all its rows, and for one row alone.  Every row of an input has values that follow from
 * which row it is, so that the row that is alone is the one that had company. */
#ifndef DR_TESTS_GPU_SIDE_H
#define DR_TESTS_GPU_SIDE_H

#include "ops/ops.h"

enum { SIDE_BLOCKS_MAX = 32, SIDE_VECTORS_MAX = 8, SIDE_KEPT_MAX = 2 };

/* A result, as float32 whatever it was; the channels beside a view are there too. */
typedef struct side_result {
    float *values; /* [n, pixels, ld] */
    dr_dtype dtype;
    int n, pixels, c, ld;
} side_result;

typedef struct side {
    dr_device *device;
    dr_dtype storage; /* what all values are rounded to */
    int first, rows;  /* of the case, that are computed; tensors have a multiple of `rows` rows */
    uint32_t tensors; /* given so far */
    void *block[SIDE_BLOCKS_MAX];
    int blocks;
    float *vector[SIDE_VECTORS_MAX]; /* host memory */
    int vectors;
    side_result kept[SIDE_KEPT_MAX];
    int results;
} side;

/* Everything fails by cmocka's assertions.  What is given belongs to the side, until its end. */
side side_begin(dr_device *device, dr_dtype storage, int first, int rows);
void side_end(side *s);

/* Values in [-size, size) of the device's activation dtype, in the first c of c + beside channels. */
dr_tensor side_view(side *s, int n, int h, int w, int c, int beside, float size);
dr_tensor side_tensor(side *s, int n, int h, int w, int c, float size);
dr_tensor side_tensor_as(side *s, dr_dtype dtype, int n, int h, int w, int c, float size);
dr_tensor side_float_view(side *s, int n, int h, int w, int c, int beside, float size); /* float32 on both */
dr_tensor side_float_tensor(side *s, int n, int h, int w, int c, float size);

/* A vector in float32 that all rows share, of values that the storage can hold: on the host, on the
 * device. */
const float *side_host_vector(side *s, size_t count, float size);
const float *side_vector(side *s, size_t count, float size);
const void *side_upload(side *s, const void *host, size_t bytes);

/* Takes it from the device. */
void side_keep(side *s, dr_tensor t);

/* Half of the distance between neighbours near 1; 0 for integers. */
double side_rounding(dr_dtype dtype);

/* --- a case on both sides --------------------------------------------------------------- */

typedef struct side_pair {
    dr_device *cpu, *gpu;
    dr_dtype storage; /* the GPU's, or DR_E4M3 */
    bool by_cudnn;    /* its convolutions and attention */
} side_pair;

/* "f16", "bf16"; whose convolutions and attention: "own", "cudnn". */
side_pair side_pair_open(const char *storage, const char *family);
/* Multiplies in 8 bits what it can, and every value is one that 8 bits hold. */
side_pair side_pair_open_fp8(const char *storage);
bool side_has_fp8(void); /* can the GPU do that?  If not, prints so */

/* Closes both devices. */
void side_pair_close(side_pair *p);

/* Makes its inputs, runs the operator, keeps the results: of rows s->first .. s->first + s->rows - 1. */
typedef void side_case(side *s, const void *shape);

/* Runs the case on both sides with `rows` rows, and each row alone on the GPU.  Asserts that every value is
 * within the rounding of its dtype and `tolerance` of the CPU's, that what lies beside a view is what it was,
 * and that a row has the same bits alone. */
void side_check(const side_pair *p, side_case *run, const void *shape, int rows, double tolerance,
                const char *what);

/* Asserts that the rows of `some` have the bits that they have in `all`. */
void side_assert_same_rows(const side *some, const side *all, const char *what);

/* Plays `operator(p, args)` as a pass: planned, then run in just the memory that the plan asked for. */
void side_run(side *s, void (*body)(dr_pass *p, void *args), void *args);

#define SIDE_BODY(operator)                             \
    static void play_##operator(dr_pass *p, void *args) \
    {                                                   \
        operator(p, args);                              \
    }

#endif
