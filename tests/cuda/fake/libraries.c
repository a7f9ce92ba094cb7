/* libraries.c - takes the place of ops/cuda/libraries.c, and opens the made-up libraries. */
#include "ops/cuda/libraries.h"

#include "tests/cuda/fake/blas.h"
#include "tests/cuda/fake/dnn.h"
#include "tests/cuda/fake/runtime.h"

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
    *dnn = fake_dnn;
    return DR_OK;
}

dr_status cuda_nvrtc_open(const char *folders, dr_error *err)
{
    (void)folders;
    return fake_cuda.nvrtc_absent ? dr_fail(err, DR_ENOTFOUND, "libnvrtc.so.13 is not there") : DR_OK;
}
