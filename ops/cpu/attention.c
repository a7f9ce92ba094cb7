/* attention.c - attention over rows, heads and blocks of queries.
 *
 * A thread's unit of work is one block of queries of one head.  Keys and values lie in memory by
 * token, all heads side by side; they are first copied apart, [head][token][d], for as many rows at a time as
 * fit a fixed budget, so that a unit streams them instead of striding from page to page. */
#include "ops/cpu/cpu.h"

#include "kernels/attention.h"

#include <string.h>

/* Keys and values in copies at a time.  One row is always allowed: SD 1.5 at 64 x 64 has 10 MiB. */
#define PACKED_BYTES_MAX ((size_t)16 << 20)

typedef struct job {
    const dr_attention_args *a;
    const dr_attention_kernels *kernels;
    size_t heads, d, keys, queries;
    size_t row_floats; /* of packed keys and values of one row */
    size_t rows;       /* at a time */
    size_t thread_floats;
    size_t first_row; /* of those that are packed */
    float *packed, *scratch;
} job;

static job job_of(const cpu_device *cpu, const dr_attention_args *a)
{
    job j = { .a = a, .kernels = cpu->kernels->attention };

    j.heads = (size_t)a->heads;
    j.d = (size_t)a->q.c / j.heads;
    j.keys = (size_t)a->k.w;
    j.queries = (size_t)a->q.w;
    j.row_floats = 2 * j.keys * (size_t)a->q.c;
    j.rows = PACKED_BYTES_MAX / (j.row_floats * sizeof(float));
    if (j.rows < 1)
        j.rows = 1;
    if (j.rows > (size_t)a->q.n)
        j.rows = (size_t)a->q.n;
    j.thread_floats = j.kernels->scratch_floats(j.d);
    return j;
}

/* Where the keys of a head of one of the packed rows begin; its values follow all its keys. */
static float *packed_head(const job *j, size_t row, size_t head)
{
    return j->packed + row * j->row_floats + 2 * head * j->keys * j->d;
}

/* Token t of row n, of all heads. */
static void pack_token(const job *j, size_t n, size_t row, size_t t)
{
    const dr_tensor *k = &j->a->k, *v = &j->a->v;
    const size_t from = j->a->kv_row ? (size_t)j->a->kv_row[n] : n;
    const float *key = (const float *)k->data + (from * j->keys + t) * (size_t)k->ld;
    const float *value = (const float *)v->data + (from * j->keys + t) * (size_t)v->ld;

    for (size_t head = 0; head < j->heads; head++) {
        float *to = packed_head(j, row, head) + t * j->d;

        memcpy(to, key + head * j->d, j->d * sizeof(*to));
        memcpy(to + j->keys * j->d, value + head * j->d, j->d * sizeof(*to));
    }
}

static void run_block(const job *j, size_t row, size_t head, size_t first, float *scratch)
{
    const size_t n = j->first_row + row;
    const dr_tensor *q = &j->a->q, *y = &j->a->y;
    const float *k = packed_head(j, row, head);
    const size_t left = j->queries - first;
    const dr_attention_block block = {
        .q = (const float *)q->data + (n * j->queries + first) * (size_t)q->ld + head * j->d,
        .y = (float *)y->data + (n * j->queries + first) * (size_t)y->ld + head * j->d,
        .q_ld = (size_t)q->ld,
        .y_ld = (size_t)y->ld,
        .queries = left < j->kernels->queries ? left : j->kernels->queries,
        .k = k,
        .v = k + j->keys * j->d,
        .keys = j->keys,
        .d = j->d,
        .scale = j->a->scale,
        .causal = j->a->causal,
        .first = first,
    };

    j->kernels->block(&block, scratch);
}

/* Blocks of queries of one head of one row. */
static size_t blocks_of(const job *j)
{
    return (j->queries + j->kernels->queries - 1) / j->kernels->queries;
}

/* Items: tokens of the packed rows. */
static void pack_tokens(void *arg, size_t begin, size_t end, int thread)
{
    const job *j = arg;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        pack_token(j, j->first_row + i / j->keys, i / j->keys, i % j->keys);
}

/* Items: blocks of queries of the packed rows' heads. */
static void run_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const job *j = arg;
    const size_t blocks = blocks_of(j);

    for (size_t i = begin; i < end; i++)
        run_block(j, i / (j->heads * blocks), i / blocks % j->heads, i % blocks * j->kernels->queries,
                  j->scratch + (size_t)thread * j->thread_floats);
}

dr_status cpu_attention(dr_pass *p, const dr_attention_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    job j = job_of(cpu, a);
    const size_t threads_floats = (size_t)cpu->thread_count * j.thread_floats;
    const size_t bytes = (threads_floats + j.rows * j.row_floats) * sizeof(float);
    float *scratch = dr_arena_take(p->arena, bytes);

    if (!scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes left for attention over %zu tokens", bytes, j.keys);
    if (!p->planning) {
        j.scratch = scratch; /* first: its vectors keep the arena's alignment */
        j.packed = scratch + threads_floats;
        for (j.first_row = 0; j.first_row < (size_t)a->q.n; j.first_row += j.rows) {
            const size_t left = (size_t)a->q.n - j.first_row, rows = left < j.rows ? left : j.rows;

            cpu_for(cpu->threads, rows * j.keys, cpu_grain(2 * (size_t)a->q.c), pack_tokens, &j);
            cpu_for(cpu->threads, rows * j.heads * blocks_of(&j), 1, run_blocks, &j);
        }
    }
    dr_arena_release(p->arena, scratch);
    return DR_OK;
}
