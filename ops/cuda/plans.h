/* plans.h - which kernel does which product, convolution or attention: what was measured, kept for the next start.
 *
 *     FOLDER/NVIDIA_H200-sm90-driver13000-runtime13000-cublaslt130100.plans
 *
 *     [header: magic, sizes, the same identity in full][plan ...][checksum of all before]
 *
 * What was measured holds for a device's name, its compute capability, and the versions of driver, runtime and
 * libraries: together its identity, which names the file and stands in it.  A plan says for a way of being called, which
 * is bytes without padding, what is used: bytes that mean something to whoever put them there.
 *
 * The file is written beside its name and renamed: whole or not there.  Several processes may share it; each takes over
 * what another has written before it writes, and where two write at once the one's news are measured again some day.
 * A file that is damaged, or of something else, is told once and written anew.  Without a folder, or where one can not be
 * written, the table lives in memory alone. */
#ifndef DR_OPS_CUDA_PLANS_H
#define DR_OPS_CUDA_PLANS_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cuda_plan_kind {
    CUDA_PLAN_PRODUCT = 1,     /* cuda_way, cublasLtMatmulAlgo_t */
    CUDA_PLAN_CONVOLUTION = 2, /* cuda_dnn_conv_way, cuda_dnn_choice */
    CUDA_PLAN_ATTENTION = 3,   /* cuda_dnn_attention_way, cuda_dnn_choice */
} cuda_plan_kind;

enum { CUDA_WAY_BYTES_MAX = 60, CUDA_CHOICE_BYTES_MAX = 128 };

typedef struct cuda_plan {
    int32_t kind;
    char way[CUDA_WAY_BYTES_MAX];       /* and zeros */
    char choice[CUDA_CHOICE_BYTES_MAX]; /* likewise */
} cuda_plan;

enum { CUDA_IDENTITY_BYTES = 240 };

typedef struct cuda_plans {
    cuda_plan *plan; /* [count], at most DR_CUDA_PLANS_MAX */
    size_t count, room;
    size_t oldest; /* goes when the table is full */
    char identity[CUDA_IDENTITY_BYTES];
    char path[PATH_MAX]; /* "": in memory alone */
} cuda_plans;

/* folder: made where it is not there; NULL or "": none.  The table can be used whatever is returned: what is not
 * DR_OK is for somebody to read. */
dr_status cuda_plans_open(cuda_plans *p, const char *folder, const char *identity, dr_error *err);
void cuda_plans_close(cuda_plans *p);

cuda_plan cuda_plan_of(cuda_plan_kind kind, const void *way, size_t way_bytes, const void *choice,
                       size_t choice_bytes);

/* The choice for a way, or NULL: not there. */
const void *cuda_plans_find(const cuda_plans *p, cuda_plan_kind kind, const void *way, size_t way_bytes);

/* Adds it, or puts it in the place of the one there is, and writes the file.  Likewise: what was not written is for
 * somebody to read, and no reason to stop. */
dr_status cuda_plans_add(cuda_plans *p, const cuda_plan *plan, dr_error *err);

#endif
