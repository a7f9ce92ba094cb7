/* libraries.c - instead of ops/cuda/libraries.c: the libraries that are made up. */
#include "ops/cuda/libraries.h"

#include "tests/cuda/fake/blas.h"
#include "tests/cuda/fake/runtime.h"

static cudnnStatus_t create_dnn(cudnnHandle_t *handle)
{
    *handle = (cudnnHandle_t)&fake_cuda;
    fake_cuda.handles++;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy_dnn(cudnnHandle_t handle)
{
    (void)handle;
    fake_cuda.handles--;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t set_stream(cudnnHandle_t handle, cudaStream_t stream)
{
    (void)handle, (void)stream;
    return CUDNN_STATUS_SUCCESS;
}

static size_t dnn_version(void)
{
    return 91900;
}

dr_status cuda_blas_open(cuda_blas *blas, const char *folders, dr_error *err)
{
    (void)folders, (void)err;
    *blas = fake_blas;
    return DR_OK;
}

dr_status cuda_dnn_open(cuda_dnn *dnn, const char *folders, dr_error *err)
{
    (void)folders;
    if (fake_cuda.dnn_absent)
        return dr_fail(err, DR_ENOTFOUND, "libcudnn.so.9 is not there");
    *dnn = (cuda_dnn){ .cudnnCreate = create_dnn,
                       .cudnnDestroy = destroy_dnn,
                       .cudnnSetStream = set_stream,
                       .cudnnGetVersion = dnn_version };
    return DR_OK;
}
