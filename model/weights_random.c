#include "model/weights_random.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* How far a norm's weight is from 1 and a bias from 0, as in trained models. */
static const float NORM_SPREAD = 0.1f, BIAS_SPREAD = 0.02f;

static inline uint32_t mix32(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* FNV-1a over the name, starting from the seed. */
static uint64_t key_of(uint64_t seed, const char *name)
{
    uint64_t key = 0xcbf29ce484222325u ^ (seed * 0x9e3779b97f4a7c15u);

    for (; *name; name++)
        key = (key ^ (unsigned char)*name) * 0x100000001b3u;
    return key;
}

static bool ends_in(const char *name, const char *end)
{
    const size_t length = strlen(name), end_length = strlen(end);

    return length >= end_length && !strcmp(name + length - end_length, end);
}

void dr_random_tensor(float *to, uint64_t seed, const char *name, const int64_t *shape, int dims)
{
    const uint64_t key = key_of(seed, name);
    const uint32_t low = mix32((uint32_t)key), high = mix32((uint32_t)(key >> 32));
    float center = 0.0f, spread;
    int64_t fan_in = 1, count;

    for (int i = 1; i < dims; i++)
        fan_in *= shape[i];
    count = dims ? shape[0] * fan_in : 1;
    if (dims > 1) {
        spread = sqrtf(3.0f / (float)fan_in); /* the variance of a uniform on [-1, 1) is 1 / 3 */
    } else if (ends_in(name, ".weight")) {
        center = 1.0f;
        spread = NORM_SPREAD;
    } else {
        spread = BIAS_SPREAD;
    }
    spread *= 0x1p-31f;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const int32_t value = (int32_t)mix32(((uint32_t)i ^ low) + high);
        to[i] = center + spread * (float)value;
    }
}
