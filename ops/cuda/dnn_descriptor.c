#include "ops/cuda/dnn_descriptor.h"

#include "base/dtype.h"

typedef cudnnBackendDescriptor_t descriptor;

enum { ALIGNMENT = 16 };

descriptor cuda_dnn_make(cuda_dnn_maker *m, cudnnBackendDescriptorType_t type)
{
    descriptor made = NULL;

    if (m->code)
        return NULL;
    dr_assert(m->made->count < CUDA_DNN_MADE_MAX);
    m->code = m->at->dnn->cudnnBackendCreateDescriptor(type, &made);
    if (!m->code)
        m->made->made[m->made->count++] = made;
    return made;
}

void cuda_dnn_set(cuda_dnn_maker *m, descriptor d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int count, const void *values)
{
    if (!m->code)
        m->code = m->at->dnn->cudnnBackendSetAttribute(d, name, type, count, values);
}

descriptor cuda_dnn_finalize(cuda_dnn_maker *m, descriptor d)
{
    if (!m->code)
        m->code = m->at->dnn->cudnnBackendFinalize(d);
    return d;
}

void cuda_dnn_set_one(cuda_dnn_maker *m, descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    cuda_dnn_set(m, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void cuda_dnn_set_number(cuda_dnn_maker *m, descriptor d, cudnnBackendAttributeName_t name, int64_t value)
{
    cuda_dnn_set(m, d, name, CUDNN_TYPE_INT64, 1, &value);
}

void cuda_dnn_set_type(cuda_dnn_maker *m, descriptor d, cudnnBackendAttributeName_t name,
                       cudnnDataType_t value)
{
    cuda_dnn_set(m, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

void cuda_dnn_destroy(const cuda_dnn *dnn, descriptor *made, int count)
{
    while (count > 0)
        dnn->cudnnBackendDestroyDescriptor(made[--count]);
}

cudnnDataType_t cuda_dnn_type(int32_t storage)
{
    return storage == DR_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

descriptor cuda_dnn_new_tensor(cuda_dnn_maker *m, const cuda_dnn_tensor *t)
{
    descriptor d = cuda_dnn_make(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);

    cuda_dnn_set_number(m, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, t->name);
    cuda_dnn_set_type(m, d, CUDNN_ATTR_TENSOR_DATA_TYPE, t->type);
    cuda_dnn_set(m, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, t->sides);
    cuda_dnn_set(m, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, t->strides);
    cuda_dnn_set_number(m, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, ALIGNMENT);
    cuda_dnn_set(m, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &t->is_virtual);
    cuda_dnn_set(m, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &t->by_value);
    return cuda_dnn_finalize(m, d);
}
