/* side.h - runs one operator on two devices with the same inputs.  Each side stores them in its own type.
 *
 * A case is written once, as a function of a side:
 *
 *     side cpu   float32                     values that the GPU's storage can hold, so that the two sides
 *     side gpu   its storage (f16, bf16)     differ by arithmetic and by the rounding of the result alone
 *
 * The function is called for all rows of the case, and for each row alone.  The values of an input's row
 * depend only on the row's number.  So a row has the same values alone as among others. */
#ifndef DR_TESTS_GPU_SIDE_H
#define DR_TESTS_GPU_SIDE_H

#include "ops/ops.h"

enum { SIDE_BLOCKS_MAX = 32, SIDE_VECTORS_MAX = 8, SIDE_KEPT_MAX = 2 };

/* A result, converted to float32 from any type.  It also has the channels beside a view. */
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

/* Every failure is an assertion of cmocka.  All memory that these functions return belongs to the side, until
 * its end. */
side side_begin(dr_device *device, dr_dtype storage, int first, int rows);
void side_end(side *s);

/* Values in [-size, size) of the device's activation dtype, in the first c of c + beside channels. */
dr_tensor side_view(side *s, int n, int h, int w, int c, int beside, float size);
dr_tensor side_tensor(side *s, int n, int h, int w, int c, float size);
dr_tensor side_tensor_as(side *s, dr_dtype dtype, int n, int h, int w, int c, float size);
dr_tensor side_float_view(side *s, int n, int h, int w, int c, int beside, float size); /* float32 on both */
dr_tensor side_float_tensor(side *s, int n, int h, int w, int c, float size);

/* A float32 vector that all rows share, with values that the storage type can hold.  The first returns host
 * memory, the second device memory. */
const float *side_host_vector(side *s, size_t count, float size);
const float *side_vector(side *s, size_t count, float size);
const void *side_upload(side *s, const void *host, size_t bytes);

/* Copies the tensor from the device and keeps it as a result. */
void side_keep(side *s, dr_tensor t);

/* Half of the distance between neighbours near 1; 0 for integers. */
double side_rounding(dr_dtype dtype);

/* --- a case on both sides --------------------------------------------------------------- */

typedef struct side_pair {
    dr_device *cpu, *gpu;
    dr_dtype storage; /* the GPU's, or DR_E4M3 */
    bool by_cudnn;    /* its convolutions and attention */
} side_pair;

/* storage: "f16" or "bf16".  family: whose convolutions and attention are used, "own" or "cudnn". */
side_pair side_pair_open(const char *storage, const char *family);
/* The GPU multiplies in 8 bits what it can.  Every value is one that 8 bits can hold. */
side_pair side_pair_open_fp8(const char *storage);
bool side_has_fp8(void); /* can the GPU do that?  If not, prints so */

/* Closes both devices. */
void side_pair_close(side_pair *p);

/* Makes the inputs of rows s->first .. s->first + s->rows - 1, runs the operator, and keeps the results. */
typedef void side_case(side *s, const void *shape);

/* Runs the case on both sides with `rows` rows, and each row alone on the GPU.  Asserts that every value is
 * within the rounding of its dtype and `tolerance` of the CPU's, that what lies beside a view is what it was,
 * and that a row has the same bits alone. */
void side_check(const side_pair *p, side_case *run, const void *shape, int rows, double tolerance,
                const char *what);

/* Asserts that the rows of `some` have the bits that they have in `all`. */
void side_assert_same_rows(const side *some, const side *all, const char *what);

/* Plays `body(p, args)` as a pass: plans it, then runs it in exactly the memory that the plan asked for. */
void side_run(side *s, void (*body)(dr_pass *p, void *args), void *args);

#define SIDE_BODY(operator)                             \
    static void play_##operator(dr_pass *p, void *args) \
    {                                                   \
        operator(p, args);                              \
    }

#endif
