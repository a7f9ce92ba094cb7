/* attention.c - attention over rows, heads and blocks of queries.
 *
 * A thread's unit of work is one block of queries of one head.  Keys and values lie in memory by
 * token, all heads side by side; they are first packed by head, for as many rows at a time as
 * fit a fixed budget, so that a unit streams them instead of striding from page to page. */
#include "ops/cpu/cpu.h"

#include "kernels/attention.h"

/* How many bytes of keys and values are packed at a time.  One row is always allowed: SD 1.5 at 64 x 64
 * has 10 MiB. */
#define PACKED_BYTES_MAX ((size_t)16 << 20)

typedef struct job {
    const dr_attention_args *a;
    const dr_attention_kernels *kernels;
    size_t heads, d, keys, queries;
    size_t key_blocks, query_blocks;
    size_t block_bytes; /* of a block of packed keys and values */
    size_t row_bytes;   /* of a row: all heads */
    size_t rows;        /* that are packed at a time */
    size_t first_row;   /* the first of the rows that are packed now */
    size_t scratch_bytes;
    char *packed, *scratch; /* a thread's scratch follows the one before */
} job;

static job job_of(const cpu_device *cpu, const dr_attention_args *a)
{
    job j = { .a = a, .kernels = cpu->kernels->attention };

    j.heads = (size_t)a->heads;
    j.d = (size_t)a->q.c / j.heads;
    j.keys = (size_t)a->k.w;
    j.queries = (size_t)a->q.w;
    j.key_blocks = (j.keys + j.kernels->keys - 1) / j.kernels->keys;
    j.query_blocks = (j.queries + j.kernels->queries - 1) / j.kernels->queries;
    j.block_bytes = j.kernels->packed_bytes(j.d);
    j.row_bytes = j.heads * j.key_blocks * j.block_bytes;
    j.rows = PACKED_BYTES_MAX / j.row_bytes;
    if (j.rows < 1)
        j.rows = 1;
    if (j.rows > (size_t)a->q.n)
        j.rows = (size_t)a->q.n;
    j.scratch_bytes = j.kernels->scratch_bytes(j.d);
    return j;
}

/* Where the keys and values of a head of one of the packed rows begin. */
static char *packed_head(const job *j, size_t row, size_t head)
{
    return j->packed + row * j->row_bytes + head * j->key_blocks * j->block_bytes;
}

static void pack_block(const job *j, size_t row, size_t head, size_t block)
{
    const size_t n = j->first_row + row;
    const dr_tensor *k = &j->a->k, *v = &j->a->v;
    const size_t first = block * j->kernels->keys, left = j->keys - first;
    const size_t token = (j->a->kv_row ? (size_t)j->a->kv_row[n] : n) * j->keys + first;

    j->kernels->pack(packed_head(j, row, head) + block * j->block_bytes,
                     (const float *)k->data + token * (size_t)k->ld + head * j->d, (size_t)k->ld,
                     (const float *)v->data + token * (size_t)v->ld + head * j->d, (size_t)v->ld,
                     left < j->kernels->keys ? left : j->kernels->keys, j->d);
}

static void run_block(const job *j, size_t row, size_t head, size_t first, char *scratch)
{
    const dr_tensor *q = &j->a->q, *y = &j->a->y;
    const size_t n = j->first_row + row, left = j->queries - first;
    const dr_attention_block block = {
        .q = (const float *)q->data + (n * j->queries + first) * (size_t)q->ld + head * j->d,
        .y = (float *)y->data + (n * j->queries + first) * (size_t)y->ld + head * j->d,
        .q_ld = (size_t)q->ld,
        .y_ld = (size_t)y->ld,
        .queries = left < j->kernels->queries ? left : j->kernels->queries,
        .packed = packed_head(j, row, head),
        .keys = j->keys,
        .d = j->d,
        .scale = j->a->scale,
        .causal = j->a->causal,
        .first = first,
    };

    j->kernels->block(&block, scratch);
}

/* Items: blocks of keys of the packed rows' heads. */
static void pack_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const job *j = arg;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        pack_block(j, i / (j->heads * j->key_blocks), i / j->key_blocks % j->heads, i % j->key_blocks);
}

/* Items: blocks of queries of the packed rows' heads. */
static void run_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const job *j = arg;

    for (size_t i = begin; i < end; i++)
        run_block(j, i / (j->heads * j->query_blocks), i / j->query_blocks % j->heads,
                  i % j->query_blocks * j->kernels->queries, j->scratch + (size_t)thread * j->scratch_bytes);
}

dr_status cpu_attention(dr_pass *p, const dr_attention_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    job j = job_of(cpu, a);
    const size_t scratch_bytes = (size_t)cpu->thread_count * j.scratch_bytes;
    const size_t bytes = scratch_bytes + j.rows * j.row_bytes;
    char *memory = dr_arena_take(p->arena, bytes);

    if (!memory)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes left for attention over %zu tokens", bytes,
                       j.keys);
    if (!p->planning) {
        j.scratch = memory;
        j.packed = memory + scratch_bytes;
        for (j.first_row = 0; j.first_row < (size_t)a->q.n; j.first_row += j.rows) {
            const size_t left = (size_t)a->q.n - j.first_row, rows = left < j.rows ? left : j.rows;

            cpu_for(cpu->threads, rows * j.heads * j.key_blocks, cpu_grain(2 * j.kernels->keys * j.d),
                    pack_blocks, &j);
            cpu_for(cpu->threads, rows * j.heads * j.query_blocks, 1, run_blocks, &j);
        }
    }
    dr_arena_release(p->arena, memory);
    return DR_OK;
}
