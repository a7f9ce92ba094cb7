/* plans.h - a table of which kernel does which product, convolution or attention.  It is kept in a file,
 * so that the next start need not measure again.
 *
 *     FOLDER/NVIDIA_H200-sm90-driver13000-runtime13000-cublaslt130100.plans
 *
 *     [header: magic, sizes, the same identity in full][plan ...][checksum of all before]
 *
 * What was measured holds for one identity: a device's name, its compute capability, and the versions of
 * driver, runtime and libraries.  The identity is the file's name, and it also stands in the file.  A
 * plan says which kernel is used for one way of calling an operator.  A way is bytes without padding.  A
 * choice is bytes too, and only the code that put them there knows their meaning.
 *
 * The file is written under another name and then renamed, so it is either complete or not there.
 * Several processes may share it.  Before a process writes, it takes over what the others have written.
 * If two write at the same time, the plans of one are lost, and are measured again later.  A file that is
 * damaged, or belongs to something else, is reported once and written anew.  Without a folder, or where a
 * file can't be written, the table is kept only in memory.
 *
 * Nothing here knows a device.  One thread uses a table. */
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
    char way[CUDA_WAY_BYTES_MAX];       /* then zeros */
    char choice[CUDA_CHOICE_BYTES_MAX]; /* then zeros */
} cuda_plan;

enum { CUDA_IDENTITY_BYTES = 240 };

typedef struct cuda_plans {
    cuda_plan *plan; /* [count], at most DR_CUDA_PLANS_MAX */
    size_t count, room;
    size_t oldest; /* counts replaced plans; when the table is full, the next to go is the remainder */
    char identity[CUDA_IDENTITY_BYTES];
    char path[PATH_MAX]; /* "": only in memory */
} cuda_plans;

/* Opens a table and reads its file. folder: made if it is missing; NULL or "": none.  After an error too,
 * the table can be used and must be closed.  The error only says why the file was not read, so that
 * somebody can see it. */
dr_status cuda_plans_open(cuda_plans *p, const char *folder, const char *identity, dr_error *err);
void cuda_plans_close(cuda_plans *p);

/* A plan of these bytes. */
cuda_plan cuda_plan_of(cuda_plan_kind kind, const void *way, size_t way_bytes, const void *choice,
                       size_t choice_bytes);

/* The choice for a way, good until the next cuda_plans_add(); NULL: there is none. */
const void *cuda_plans_find(const cuda_plans *p, cuda_plan_kind kind, const void *way, size_t way_bytes);

/* Adds a plan, or replaces the plan for the same way, and writes the file.  An error says why the file
 * was not written.  The plan is in the table all the same, so an error is no reason to stop. */
dr_status cuda_plans_add(cuda_plans *p, const cuda_plan *plan, dr_error *err);

#endif
