#include "model/rows.h"

dr_tensor dr_rows_expand(dr_pass *p, const dr_rows *rows, dr_tensor x)
{
    dr_tensor y;

    dr_assert(x.n <= rows->count);
    if (x.n == rows->count)
        return x;
    y = dr_take(p, rows->count, x.h, x.w, x.c);
    dr_gather(p, &(dr_gather_args){ .x = x, .row = rows->sample, .y = y });
    dr_release(p, &x);
    return y;
}
