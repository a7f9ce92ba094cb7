/* blas.h - a cuBLASLt that multiplies on the host when the made-up stream reaches the product. */
#ifndef DR_TESTS_CUDA_FAKE_BLAS_H
#define DR_TESTS_CUDA_FAKE_BLAS_H

#include "ops/cuda/libraries.h"

extern const cuda_blas fake_blas;

#endif
