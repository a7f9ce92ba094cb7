/* libraries.h - cuBLASLt and cuDNN, opened when a device is.
 *
 * The program is linked with neither, so that it starts on a machine without them: each is a table with the
 * functions that ops/cuda calls, under their own names:
 *
 *     d->blas.cublasLtMatmul(...)        d->dnn.cudnnBackendExecute(...)
 *
 * They are looked for in the folders that were asked for, then where the loader looks, then in the toolkit that
 * the program was built with.  Once opened they stay: neither library likes to be closed. */
#ifndef DR_OPS_CUDA_LIBRARIES_H
#define DR_OPS_CUDA_LIBRARIES_H

#include "base/error.h"

#include <cublasLt.h>
#include <cudnn.h>

#define CUDA_BLAS_FUNCTIONS(F)              \
    F(cublasLtCreate)                       \
    F(cublasLtDestroy)                      \
    F(cublasLtGetVersion)                   \
    F(cublasLtGetStatusString)              \
    F(cublasLtMatmul)                       \
    F(cublasLtMatmulDescInit_internal)      \
    F(cublasLtMatmulDescSetAttribute)       \
    F(cublasLtMatrixLayoutInit_internal)    \
    F(cublasLtMatmulPreferenceCreate)       \
    F(cublasLtMatmulPreferenceDestroy)      \
    F(cublasLtMatmulPreferenceSetAttribute) \
    F(cublasLtMatmulAlgoGetHeuristic)       \
    F(cublasLtMatmulAlgoInit)               \
    F(cublasLtMatmulAlgoCheck)              \
    F(cublasLtMatmulAlgoConfigGetAttribute) \
    F(cublasLtMatmulAlgoConfigSetAttribute)

#define CUDA_DNN_FUNCTIONS(F)        \
    F(cudnnCreate)                   \
    F(cudnnDestroy)                  \
    F(cudnnSetStream)                \
    F(cudnnGetVersion)               \
    F(cudnnGetErrorString)           \
    F(cudnnGetLastErrorString)       \
    F(cudnnBackendCreateDescriptor)  \
    F(cudnnBackendDestroyDescriptor) \
    F(cudnnBackendSetAttribute)      \
    F(cudnnBackendGetAttribute)      \
    F(cudnnBackendFinalize)          \
    F(cudnnBackendExecute)

#define CUDA_FUNCTION_POINTER(function) __typeof__(function) *function;

typedef struct cuda_blas {
    CUDA_BLAS_FUNCTIONS(CUDA_FUNCTION_POINTER)
} cuda_blas;

typedef struct cuda_dnn {
    CUDA_DNN_FUNCTIONS(CUDA_FUNCTION_POINTER)
} cuda_dnn;

/* folders: "/a:/b" or NULL.  A library, or a function of it, that is not there: DR_ENOTFOUND, and the text says
 * where it was looked for.  Another major version than the one that was compiled against is not looked for. */
dr_status cuda_blas_open(cuda_blas *blas, const char *folders, dr_error *err);
dr_status cuda_dnn_open(cuda_dnn *dnn, const char *folders, dr_error *err);

/* NVRTC, CUDA's compiler, which cuDNN's attention wants: it is left open, where cuDNN finds it by its name, and NVRTC a
 * part of its own that lies beside it. */
dr_status cuda_nvrtc_open(const char *folders, dr_error *err);

#endif
