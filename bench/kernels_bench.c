/* kernels_bench - how long Darkroom's own CPU kernels take in the shapes of Stable Diffusion.
 *
 *     build/release/bench/kernels_bench [--isa NAME] [--threads N] [--small] [filter]
 *
 * One line for each shape: the best of several runs.  For attention it shows the GFLOP/s of the matrix
 * products.  For other kernels it shows GB/s, where each byte that must be read or written counts once.
 * --small runs everything once, in small sizes. */
#include "tests/ops/operator.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct bench {
    dr_device *device;
    const char *filter; /* NULL: everything */
    bool small;
} bench;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Run for half a second, at least three times, and keep the best. */
#define BEST_OF(b, call)                                                                                 \
    ({                                                                                                   \
        const double begin_ = seconds();                                                                 \
        double best_ = INFINITY;                                                                         \
        for (int i_ = 0; i_ < ((b)->small ? 1 : 3) || (!(b)->small && seconds() - begin_ < 0.5); i_++) { \
            const double start_ = seconds();                                                             \
            call;                                                                                        \
            best_ = fmin(best_, seconds() - start_);                                                     \
        }                                                                                                \
        best_;                                                                                           \
    })

#define TIME(b, operator, ...)                                       \
    ({                                                               \
        operation o_;                                                \
        double best_seconds_;                                        \
        plan(&o_, (b)->device);                                      \
        operator(&o_.pass, __VA_ARGS__);                             \
        play(&o_);                                                   \
        best_seconds_ = BEST_OF(b, operator(&o_.pass, __VA_ARGS__)); \
        finish(&o_);                                                 \
        best_seconds_;                                               \
    })

static bool wanted(const bench *b, const char *name)
{
    return !b->filter || strstr(name, b->filter);
}

static void line(const char *name, double best, double amount, const char *unit)
{
    printf("%-44s %9.3f ms %8.1f %s\n", name, best * 1e3, amount / best * 1e-9, unit);
    fflush(stdout);
}

static void attention(const bench *b, const char *what, int n, int tq, int tk, int heads, int d, bool causal)
{
    char name[96];
    const int c = heads * d;

    snprintf(name, sizeof(name), "attention %s %dx%dx%d d%d", what, n, tq, tk, d);
    if (!wanted(b, name))
        return;
    if (b->small)
        tq = tq < 64 ? tq : 64, tk = causal ? tq : tk < 77 ? tk : 77;
    dr_tensor q = random_tensor(n, 1, tq, c, 1), kv = random_tensor(n, 1, tk, 2 * c, 2),
              y = new_tensor(n, 1, tq, c);
    const dr_attention_args a = {
        .q = q,
        .k = dr_tensor_channels(kv, 0, c),
        .v = dr_tensor_channels(kv, c, c),
        .y = y,
        .heads = heads,
        .scale = 1.0f / sqrtf((float)d),
        .causal = causal,
    };
    line(name, TIME(b, dr_attention, &a), 4.0 * n * tq * tk * c, "GFLOP/s");
    free(q.data);
    free(kv.data);
    free(y.data);
}

static void group_norm(const bench *b, const char *what, int n, int side, int c, bool silu)
{
    char name[96];

    snprintf(name, sizeof(name), "group_norm%s %s %dx%dx%dx%d", silu ? "+silu" : "", what, n, side, side, c);
    if (!wanted(b, name))
        return;
    side = b->small ? 8 : side;
    dr_tensor x = random_tensor(n, side, side, c, 1), y = new_tensor(n, side, side, c);
    dr_tensor gamma = random_tensor(1, 1, 1, c, 2), beta = random_tensor(1, 1, 1, c, 3);
    const dr_norm norm = { .gamma = gamma.data, .beta = beta.data, .c = c, .groups = 32, .eps = 1e-5f };
    const dr_group_norm_args a = { .x = x, .y = y, .norm = &norm, .silu = silu };

    line(name, TIME(b, dr_group_norm, &a), 8.0 * (double)tensor_values(&x), "GB/s");
    free(x.data);
    free(y.data);
    free(gamma.data);
    free(beta.data);
}

static void layer_norm(const bench *b, int n, int tokens, int c)
{
    char name[96];

    snprintf(name, sizeof(name), "layer_norm %dx%dx%d", n, tokens, c);
    if (!wanted(b, name))
        return;
    tokens = b->small ? 8 : tokens;
    dr_tensor x = random_tensor(n, 1, tokens, c, 1), y = new_tensor(n, 1, tokens, c);
    dr_tensor gamma = random_tensor(1, 1, 1, c, 2), beta = random_tensor(1, 1, 1, c, 3);
    const dr_norm norm = { .gamma = gamma.data, .beta = beta.data, .c = c, .eps = 1e-5f };
    const dr_layer_norm_args a = { .x = x, .y = y, .norm = &norm };

    line(name, TIME(b, dr_layer_norm, &a), 8.0 * (double)tensor_values(&x), "GB/s");
    free(x.data);
    free(y.data);
    free(gamma.data);
    free(beta.data);
}

static void geglu(const bench *b, int n, int tokens, int c)
{
    char name[96];

    snprintf(name, sizeof(name), "geglu %dx%dx%d", n, tokens, c);
    if (!wanted(b, name))
        return;
    tokens = b->small ? 8 : tokens;
    dr_tensor x = random_tensor(n, 1, tokens, 2 * c, 1), y = new_tensor(n, 1, tokens, c);
    const dr_geglu_args a = { .x = x, .y = y };

    line(name, TIME(b, dr_geglu, &a), 12.0 * (double)tensor_values(&y), "GB/s");
    free(x.data);
    free(y.data);
}

static void elementwise(const bench *b, int n, int side, int c)
{
    char name[96];
    dr_tensor x, y, wide;

    side = b->small ? 8 : side;
    x = random_tensor(n, side, side, c, 1);
    y = new_tensor(n, side, side, c);
    wide = new_tensor(n, side, side, 2 * c);
    snprintf(name, sizeof(name), "silu %dx%dx%dx%d", n, side, side, c);
    if (wanted(b, name))
        line(name, TIME(b, dr_activate, &(dr_activate_args){ .x = x, .y = y, .activation = DR_ACT_SILU }),
             8.0 * (double)tensor_values(&x), "GB/s");
    snprintf(name, sizeof(name), "concat %dx%dx%dx%d", n, side, side, 2 * c);
    if (wanted(b, name))
        line(name, TIME(b, dr_concat, &(dr_concat_args){ .a = x, .b = y, .y = wide }),
             8.0 * (double)tensor_values(&wide), "GB/s");
    free(x.data);
    free(y.data);
    free(wide.data);
}

static void everything(const bench *b)
{
    attention(b, "sd1 64^2", 2, 4096, 4096, 8, 40, false);
    attention(b, "sd1 32^2", 2, 1024, 1024, 8, 80, false);
    attention(b, "sd1 16^2", 2, 256, 256, 8, 160, false);
    attention(b, "sd1 8^2", 2, 64, 64, 8, 160, false);
    attention(b, "sd1 cross 64^2", 2, 4096, 77, 8, 40, false);
    attention(b, "sd1 cross 16^2", 2, 256, 77, 8, 160, false);
    attention(b, "sd2 32^2", 2, 1024, 1024, 10, 64, false);
    attention(b, "vae 64^2", 1, 4096, 4096, 1, 512, false);
    attention(b, "text", 2, 77, 77, 12, 64, true);
    group_norm(b, "unet", 2, 64, 320, true);
    group_norm(b, "unet", 2, 32, 640, true);
    group_norm(b, "unet", 2, 16, 1280, true);
    group_norm(b, "unet", 2, 8, 1280, true);
    group_norm(b, "unet", 2, 64, 320, false);
    group_norm(b, "vae", 1, 512, 128, true);
    group_norm(b, "vae", 1, 256, 256, true);
    layer_norm(b, 2, 4096, 320);
    layer_norm(b, 2, 256, 1280);
    geglu(b, 2, 4096, 1280);
    geglu(b, 2, 256, 5120);
    elementwise(b, 2, 64, 320);
}

int main(int argc, char **argv)
{
    dr_device_options options = { .name = "cpu" };
    bench b = { 0 };
    dr_error err;

    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--small"))
            b.small = true;
        else if (!strcmp(argv[i], "--isa") && i + 1 < argc)
            options.isa = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            options.threads = atoi(argv[++i]);
        else
            b.filter = argv[i];
    if (dr_device_open(&b.device, &options, &err)) {
        fprintf(stderr, "kernels_bench: %s\n", err.text);
        return 1;
    }
    printf("%s\n", dr_device_description(b.device));
    everything(&b);
    dr_device_close(b.device);
    return 0;
}
