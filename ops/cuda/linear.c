/* linear.c - linear layers. cuBLASLt computes the matrix products (product.h), and adds the bias and the
 * residual in its epilogue.
 *
 * On a device that was opened with 8-bit linear layers, a layer whose x may have 8 bits is multiplied in
 * 8 bits, both x and weight.
 *
 * The bits are the same for every number of rows.  A layer has one kernel for each way of calling it
 * (tokens of a row, strides, what is added).  The kernel is chosen while planning, as product.h says, and
 * all later calls use it.  On a device that is `fast`, each number of rows is a way of its own. */
#include "base/half.h"
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/memory.h"
#include "ops/cuda/operators.h"
#include "ops/cuda/product.h"

#include <stdlib.h>
#include <string.h>

typedef struct linear_plan {
    struct linear_plan *next;
    cuda_way way;
    cublasLtMatmulAlgo_t algo;
} linear_plan;

typedef struct cuda_linear_layer {
    dr_linear base;
    void *weight;  /* device, [out, in]: storage, or DR_E4M3 */
    float scale;   /* the weight was divided by it: 1, except for DR_E4M3 */
    void *bias[2]; /* device, [out] as storage and as float32: the epilogue wants y's dtype; NULL: none */
    linear_plan *plans;
} cuda_linear_layer;

/* --- weights ----------------------------------------------------------------------- */

/* cuBLASLt's 8-bit kernels require lines of x and y that are multiples of 16 bytes. */
static bool is_of_eight_bits(const cuda_device *d, const dr_linear_desc *desc)
{
    return d->fp8_linears && desc->eight_bits && desc->in % 16 == 0 && desc->out % 16 == 0;
}

static dr_status pack_eight_bits(cuda_device *d, cuda_linear_layer *l, const float *weight, size_t values,
                                 dr_error *err)
{
    enum { PIECE = 8192 };
    float scaled[PIECE];
    dr_status rc = cuda_alloc(&l->weight, &d->base, values, err);

    l->scale = dr_e4m3_scale(weight, values);
    for (size_t done = 0, n; done < values && !rc; done += n) {
        n = values - done < PIECE ? values - done : PIECE;
        for (size_t i = 0; i < n; i++)
            scaled[i] = weight[done + i] / l->scale;
        rc = cuda_put(d, (char *)l->weight + done, scaled, n, DR_E4M3, err);
    }
    return rc;
}

dr_status cuda_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    const size_t values = (size_t)desc->in * (size_t)desc->out, outs = (size_t)desc->out;
    cuda_linear_layer *l = calloc(1, sizeof(*l));
    dr_status rc;

    *out = NULL;
    if (!l)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the layer", desc->name);
    l->base = (dr_linear){
        .device = device, .in = desc->in, .out = desc->out, .eight_bits = is_of_eight_bits(d, desc)
    };
    l->scale = 1.0f;
    rc = l->base.eight_bits ? pack_eight_bits(d, l, desc->weight, values, err)
                            : cuda_pack(d, &l->weight, desc->weight, values, device->activation_dtype, err);
    l->base.bytes = values * dr_dtype_bytes(dr_linear_x_dtype(&l->base));
    if (!rc && desc->bias)
        rc = cuda_pack(d, &l->bias[0], desc->bias, outs, device->activation_dtype, err);
    if (!rc && desc->bias)
        rc = cuda_pack(d, &l->bias[1], desc->bias, outs, DR_F32, err);
    if (desc->bias)
        l->base.bytes += outs * (dr_dtype_bytes(device->activation_dtype) + sizeof(float));
    if (rc) {
        cuda_linear_free(&l->base);
        return dr_fail_within(err, "%s", desc->name);
    }
    *out = &l->base;
    return DR_OK;
}

void cuda_linear_free(dr_linear *linear)
{
    cuda_linear_layer *l = (cuda_linear_layer *)linear;

    cuda_free(linear->device, l->weight);
    cuda_free(linear->device, l->bias[0]);
    cuda_free(linear->device, l->bias[1]);
    for (linear_plan *p = l->plans, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(l);
}

/* --- plans --------------------------------------------------------------------------- */

static const linear_plan *find_plan(const cuda_linear_layer *l, const cuda_way *w)
{
    for (const linear_plan *p = l->plans; p; p = p->next)
        if (memcmp(&p->way, w, sizeof(*w)) == 0)
            return p;
    return NULL;
}

/* Uses the kernel that is known already, perhaps from an earlier start.  If there is none, measures one
 * and remembers it. */
static dr_status find_algo(cuda_device *d, const cuda_way *w, cublasLtMatmulAlgo_t *algo, dr_error *err)
{
    const void *known = cuda_plans_find(&d->plans, CUDA_PLAN_PRODUCT, w, sizeof(*w));
    cuda_plan plan;
    dr_error why;
    dr_status rc;

    if (known) {
        memcpy(algo, known, sizeof(*algo));
        if (!cuda_product_check(d, w, algo, cuda_way_columns(w), NULL))
            return DR_OK;
    }
    rc = cuda_product_choose(d, w, algo, err);
    if (rc)
        return rc;
    plan = cuda_plan_of(CUDA_PLAN_PRODUCT, w, sizeof(*w), algo, sizeof(*algo));
    if (cuda_plans_add(&d->plans, &plan, &why))
        cuda_note_plans(d, &why);
    return DR_OK;
}

static dr_status plan_way(cuda_device *d, cuda_linear_layer *l, const cuda_way *w, size_t tokens,
                          dr_error *err)
{
    const linear_plan *known = find_plan(l, w);
    linear_plan *p;
    dr_status rc;

    if (known)
        return cuda_product_check(d, w, &known->algo, tokens, err);
    p = calloc(1, sizeof(*p));
    if (!p)
        return dr_fail(err, DR_ENOMEM, "no memory for a product's plan");
    p->way = *w;
    rc = find_algo(d, w, &p->algo, err);
    if (!rc)
        rc = cuda_product_check(d, w, &p->algo, tokens, err);
    if (rc) {
        free(p);
        return rc;
    }
    p->next = l->plans;
    l->plans = p;
    return DR_OK;
}

/* The alignment of every token of a tensor, from its address and its stride.  An address from planning
 * has the same alignment as the real one. */
static uint32_t alignment(const dr_tensor *t)
{
    return cuda_alignment(t->data, t->ld, dr_dtype_bytes(t->dtype));
}

static cuda_way way_of(const cuda_linear_layer *l, const dr_linear_args *a)
{
    const dr_tensor *r = a->residual;

    return (cuda_way){ .in = l->base.in,
                       .out = l->base.out,
                       .storage = a->x.dtype,
                       .y_dtype = a->y.dtype,
                       .has_bias = l->bias[0] != NULL,
                       .tokens = a->x.h * a->x.w,
                       .rows = cuda_of(l->base.device)->fast ? a->x.n : 0,
                       .x_ld = a->x.ld,
                       .y_ld = a->y.ld,
                       .added_ld = r ? r->ld : 0,
                       .x_alignment = alignment(&a->x),
                       .y_alignment = alignment(&a->y),
                       .added_alignment = r ? alignment(r) : 0 };
}

/* --- the operator -------------------------------------------------------------------- */

static dr_status multiply(dr_pass *pass, const cuda_linear_layer *l, const cuda_way *w,
                          const dr_linear_args *a)
{
    const linear_plan *p = find_plan(l, w);

    dr_assert(p); /* whatever runs was planned */
    return cuda_product_start(cuda_of(pass->device), w, &p->algo,
                              &(cuda_product_args){ .lane = pass->lane,
                                                    .weight = l->weight,
                                                    .x = a->x.data,
                                                    .scale = l->scale,
                                                    .bias = l->bias[a->y.dtype == DR_F32],
                                                    .added = a->residual ? a->residual->data : NULL,
                                                    .y = a->y.data,
                                                    .tokens = dr_tensor_pixels(&a->x) },
                              &pass->error);
}

dr_status cuda_linear(dr_pass *p, const dr_linear_args *a)
{
    cuda_device *d = cuda_of(p->device);
    cuda_linear_layer *l = (cuda_linear_layer *)a->linear; /* we may add to the plans of our own layers */
    const cuda_way w = way_of(l, a);
    dr_status rc;

    if (a->activation != DR_ACT_NONE && (a->residual || a->y.ld != a->y.c))
        return dr_fail(&p->error, DR_EUNSUPPORTED,
                       "%s: a product with an activation takes neither a residual nor a view", d->name);
    if (p->planning)
        return plan_way(d, l, &w, dr_tensor_pixels(&a->x), &p->error);
    rc = multiply(p, l, &w, a);
    if (rc || a->activation == DR_ACT_NONE)
        return rc;
    dr_cuda_activate(cuda_stream(p),
                     &(dr_cuda_activate_args){ .dtype = a->y.dtype,
                                               .x = a->y.data,
                                               .y = a->y.data,
                                               .values = dr_tensor_pixels(&a->y) * (size_t)a->y.c,
                                               .activation = a->activation });
    return cuda_launched(p, "an activation");
}
