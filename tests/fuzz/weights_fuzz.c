/* Any bytes as a safetensors file: what opens is read to the last byte. */
#include "model/weights.h"

#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { FLOATS_MAX = 1 << 16, LENGTH_BYTES = 8 };

static void read_tensor(const dr_weights *w, const char *name)
{
    static float values[FLOATS_MAX];
    dr_weight_info info;
    dr_error err;
    size_t count = 1;

    dr_assert(dr_weights_find(w, name, &info));
    for (size_t i = 0; i < info.bytes; i++)
        dr_assert(dr_weights_read_bytes(w, name, i, values, 1, &err) == DR_OK);
    for (int i = 0; i < info.dims; i++) {
        if (info.shape[i] == 0 || (size_t)info.shape[i] > FLOATS_MAX / count)
            return;
        count *= (size_t)info.shape[i];
    }
    dr_weights_read(w, name, info.shape, info.dims, values, &err);
}

static void open_and_read(const uint8_t *data, size_t size)
{
    dr_weights *w;
    dr_error err = { 0 };
    const dr_status rc = dr_weights_open_file(&w, fuzz_file(data, size), &err);

    dr_assert(rc == err.status && !w == !!rc);
    for (size_t i = 0; w && i < dr_weights_count(w); i++)
        read_tensor(w, dr_weights_name(w, i));
    dr_weights_close(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t end = size;
    uint8_t *copy;

    open_and_read(data, size);
    /* Once more with the header's length put right, so that changes reach behind it. */
    while (end > LENGTH_BYTES && data[end - 1] != '}')
        end--;
    if (end <= LENGTH_BYTES)
        return 0;
    copy = malloc(size);
    dr_assert(copy);
    memcpy(copy, data, size);
    memcpy(copy, &(uint64_t){ end - LENGTH_BYTES }, LENGTH_BYTES);
    open_and_read(copy, size);
    free(copy);
    return 0;
}
