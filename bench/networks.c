#include "bench/networks.h"

#include <stdlib.h>

static dr_tensor map_of(dr_dtype dtype, int rows, int side, int c, void *data)
{
    return (dr_tensor){ .data = data, .dtype = dtype, .n = rows, .h = side, .w = side, .c = c, .ld = c };
}

static void unet_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const bench_network *n = arg;

    dr_unet_forward(p, n->model->unet,
                    &(dr_unet_args){ .x = map_of(n->dtype, n->samples, n->side, 4, n->in),
                                     .out = map_of(n->dtype, size.rows, n->side, 4, n->out),
                                     .x_row = n->x_row,
                                     .context = &n->context,
                                     .context_row = n->zeros,
                                     .time_table = n->time_table,
                                     .time_row = n->zeros });
}

static void decode_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const bench_network *n = arg;
    const int side = n->side * dr_vae_factor(n->model->vae);

    dr_vae_decode(p, n->model->vae, map_of(DR_F32, size.rows, n->side, 4, n->in),
                  map_of(n->dtype, size.rows, side, 3, n->out));
}

static void text_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const bench_network *n = arg;
    dr_tensor embeds = dr_text_encoder_forward(p, n->model->text_encoder, n->zeros, size.rows);
    dr_tensor out = embeds;

    out.data = n->out;
    dr_scale(p, &(dr_scale_args){ .x = embeds, .y = out, .factor = 1.0f });
    dr_release(p, &embeds);
}

static size_t output_values(const bench_network *n)
{
    const size_t rows = (size_t)n->rows, latents = (size_t)n->side * (size_t)n->side;
    const size_t factor = (size_t)dr_vae_factor(n->model->vae);

    if (n->kind == BENCH_TEXT)
        return rows * DR_TOKENS * (size_t)n->model->config.text_encoder.width;
    return n->kind == BENCH_UNET ? rows * latents * 4 : rows * latents * factor * factor * 3;
}

/* Row i belongs to sample i % samples. */
static void *sample_of_rows(const bench_network *n)
{
    int32_t row[DR_PASS_ROWS_MAX];

    dr_assert(n->samples >= 1 && n->rows <= DR_PASS_ROWS_MAX);
    for (int i = 0; i < n->rows; i++)
        row[i] = i % n->samples;
    return bench_device_copy(n->b, row, (size_t)n->rows * sizeof(row[0]));
}

void bench_network_open(bench_network *n)
{
    static const dr_pass_body bodies[] = { unet_body, decode_body, text_body };
    bench *b = n->b;
    const dr_dtype dtype = dr_device_activation_dtype(b->device);
    const size_t context_bytes = dr_unet_context_bytes(n->model->unet, 1), values = output_values(n);
    dr_error err;

    n->body = bodies[n->kind];
    n->passes.device = b->device;
    n->dtype = dtype;
    if (n->kind != BENCH_UNET)
        n->samples = n->rows;
    n->in = bench_device_values(b, (size_t)n->samples * (size_t)n->side * (size_t)n->side * 4, 1.0f,
                                n->kind == BENCH_UNET ? dtype : DR_F32);
    n->x_row = sample_of_rows(n);
    n->zeros = bench_device_values(b, (size_t)n->rows * DR_TOKENS, 0.0f, DR_F32);
    n->context.rows = 1;
    n->context.data = bench_device_values(b, context_bytes / dr_dtype_bytes(dtype), 0.5f, dtype);
    n->time_table = bench_device_values(b, (size_t)dr_unet_time_channels(n->model->unet), 0.5f, DR_F32);
    n->out_bytes = values * dr_dtype_bytes(dtype);
    n->out = bench_device_values(b, values, 0.0f, dtype);
    if (dr_lanes_meet(b->device, &err)) /* the pass may be on any lane */
        bench_die("lanes", &err);
}

void bench_network_close(bench_network *n)
{
    dr_device *device = n->b->device;

    dr_passes_free(&n->passes);
    dr_device_free(device, n->in);
    dr_device_free(device, n->out);
    dr_device_free(device, n->x_row);
    dr_device_free(device, n->zeros);
    dr_device_free(device, n->context.data);
    dr_device_free(device, n->time_table);
}

static void start(bench_network *n, dr_pass_kind kind)
{
    dr_error err;

    if (dr_passes_play(&n->passes, kind, (dr_pass_size){ .rows = n->rows }, n->body, n, &err))
        bench_die("pass", &err);
}

void bench_network_start(bench_network *n)
{
    static const dr_pass_kind kinds[] = { DR_PASS_UNET, DR_PASS_DECODE, DR_PASS_TEXT };

    start(n, kinds[n->kind]);
}

/* Only passes of the UNet are recorded.  So this pass is played as another kind, and is not recorded. */
void bench_network_start_plain(bench_network *n)
{
    start(n, DR_PASS_TEXT);
}

uint64_t bench_network_wait(bench_network *n)
{
    return bench_device_checksum(n->b, n->out, n->out_bytes);
}
