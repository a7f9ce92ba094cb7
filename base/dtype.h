/* dtype.h - what the values of a tensor, or of a file, are stored as. */
#ifndef DR_BASE_DTYPE_H
#define DR_BASE_DTYPE_H

#include <stddef.h>

typedef enum dr_dtype { DR_F32, DR_F16, DR_BF16, DR_I32, DR_I64, DR_U8 } dr_dtype;

static inline size_t dr_dtype_bytes(dr_dtype t)
{
    return t == DR_I64 ? 8 : t == DR_F32 || t == DR_I32 ? 4 : t == DR_U8 ? 1 : 2;
}

#endif
