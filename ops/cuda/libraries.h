/* libraries.h - cuBLASLt and cuDNN, opened when a device is opened.
 *
 * The program is not linked with either of them, so that it starts on a machine without them.  Each
 * library is a table of the functions that ops/cuda calls, under the functions' own names:
 *
 *     d->blas.cublasLtMatmul(...)        d->dnn.cudnnBackendExecute(...)
 *
 * They are looked for in the folders that the caller names, then where the system's loader looks, then in
 * the toolkit with which the program was built.  They stay open until the process ends, because neither
 * library expects to be closed. */
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

/* Fills the table. folders: "/a:/b" or NULL.  DR_ENOTFOUND: the library, or one of its functions, is
 * missing; the text says where it was looked for.  DR_EFORMAT: the library is there but does not load.
 * Only the major version against which we were compiled is accepted. */
dr_status cuda_blas_open(cuda_blas *blas, const char *folders, dr_error *err);
dr_status cuda_dnn_open(cuda_dnn *dnn, const char *folders, dr_error *err);

/* Opens NVRTC, CUDA's compiler, which cuDNN's attention needs.  Also opens a part of NVRTC that lies
 * beside it.  Both stay open, so that cuDNN and NVRTC find them by name. */
dr_status cuda_nvrtc_open(const char *folders, dr_error *err);

#endif
