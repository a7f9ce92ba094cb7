/* cuda_absent.c - replaces ops/cuda when the program is built without a CUDA toolkit. */
#include "ops/backend.h"

dr_status dr_cuda_device_open(dr_device **out, const dr_device_options *options, int ordinal, dr_error *err)
{
    (void)options, (void)ordinal;
    *out = NULL;
    return dr_fail(err, DR_EUNSUPPORTED, "this program was built without CUDA");
}
