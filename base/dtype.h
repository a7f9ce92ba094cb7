/* dtype.h - the type in which the values of a tensor or of a file are stored. */
#ifndef DR_BASE_DTYPE_H
#define DR_BASE_DTYPE_H

#include <stddef.h>

/* DR_E4M3: 8-bit floats (base/half.h).  Only operands of some products are of this type. */
typedef enum dr_dtype { DR_F32, DR_F16, DR_BF16, DR_I32, DR_I64, DR_U8, DR_E4M3 } dr_dtype;

static inline size_t dr_dtype_bytes(dr_dtype t)
{
    return t == DR_I64 ? 8 : t == DR_F32 || t == DR_I32 ? 4 : t == DR_U8 || t == DR_E4M3 ? 1 : 2;
}

#endif
