/* wgmma.c - the products of a warpgroup, from the PTX ISA's account of wgmma.mma_async.
 *
 *     wgmma     is written down; what d holds is taken away, and NaNs are left in its place
 *     commit    the products that were written down since the last commit are a group.  By chance all groups
 *               are computed now, from what shared memory and A's registers hold now, or are left for later
 *     wait      the oldest groups are computed in the same way, in order; a d that no product is left for is
 *               given back
 *
 * So the values show when a buffer is filled again too soon, a register is used too soon, or a wait is
 * missing.  Mistakes that the values can't show are reported as errors: memory that cp.async brought and no
 * fence.proxy.async came after (ordinary stores are not followed), a group of products that no wgmma.fence
 * came before, a descriptor whose addresses are not the block's.  Where that is simpler, the shim demands
 * more than the ISA: the four warps also wait together.
 *
 * Sums of 8-bit products are cut to 14 bits after each product: about what the hardware leaves of them
 * (cuda_wgmma.h). */
#include "tests/cuda/shim/run.h"

#include "base/half.h"

#include <string.h>

enum {
    GROUPS_MAX = SHIM_THREADS_MAX / SHIM_GROUP_LANES,
    M = 64,
    CHUNK_BYTES = 16,
    K_MAX = 32, /* two chunks of 8-bit values */
    N_MAX = 256,
    PRODUCTS_MAX = 64, /* of a warpgroup, on their way at a time */
    SUMS_MAX = 8,      /* of d */
};

/* A register set d that belongs to products that are under way. */
typedef struct sums {
    float value[M][N_MAX];
    float *d[SHIM_GROUP_LANES];
    int n, products;
} sums;

typedef struct product {
    shim_wgmma w; /* lane 0's */
    const uint32_t *a[SHIM_GROUP_LANES];
    sums *sums;
    int group;
} product;

typedef struct warpgroup {
    sums sums[SUMS_MAX];
    product products[PRODUCTS_MAX]; /* in order */
    int ran;                        /* how many of them are already computed although nobody waited */
    int count, group;               /* the group that is being filled */
    bool fenced;
} warpgroup;

static struct wgmma {
    warpgroup warpgroup[GROUPS_MAX];
    /* Which thread's cp.async wrote 16 bytes, and how many fences that thread had executed by then.  If the
     * count is still the same, no fence came since. */
    struct {
        uint16_t thread; /* + 1; 0: none's */
        uint32_t fences;
    } written[SHIM_SHARED_BYTES_MAX / 16];
    uint32_t fences[SHIM_THREADS_MAX];
    bool used;
    bool multiplied; /* since the grid began */
} wgmma;

static warpgroup *mine(void)
{
    return &wgmma.warpgroup[shim_thread_index() / SHIM_GROUP_LANES];
}

void shim_wgmma_begin(void)
{
    if (!wgmma.used)
        return;
    for (int i = 0; i < GROUPS_MAX; i++) {
        warpgroup *g = &wgmma.warpgroup[i];

        for (int s = 0; s < SUMS_MAX; s++)
            g->sums[s].products = 0;
        g->count = g->ran = g->group = 0;
        g->fenced = false;
    }
    memset(wgmma.written, 0, sizeof(wgmma.written));
    memset(wgmma.fences, 0, sizeof(wgmma.fences));
    wgmma.used = false;
}

void shim_wgmma_begin_grid(void)
{
    wgmma.multiplied = false;
}

bool shim_wgmma_is_used(void)
{
    return wgmma.multiplied;
}

bool shim_wgmma_is_in_flight(void)
{
    return mine()->count > 0;
}

/* --- proxies ---------------------------------------------------------------------------- */

void shim_wgmma_copied(const void *to)
{
    const uint32_t at = (shim_shared_address(to) - SHIM_SHARED_BASE) / 16, thread = shim_thread_index();

    wgmma.used = true;
    wgmma.written[at].thread = (uint16_t)(thread + 1);
    wgmma.written[at].fences = wgmma.fences[thread];
}

void shim_async_proxy_fence(void)
{
    wgmma.used = true;
    wgmma.fences[shim_thread_index()]++;
}

/* --- descriptors ------------------------------------------------------------------------ */

typedef struct matrix {
    uint32_t start, leading, stride;
    uint32_t swizzle; /* bytes of its rows; 16: none */
    bool mn_major;
} matrix;

static uint32_t field(uint64_t descriptor, int bit)
{
    return (uint32_t)(descriptor >> bit & 0x3fff) << 4;
}

static matrix decode(uint64_t d, bool mn_major)
{
    static const uint32_t swizzles[] = { 16, 128, 64, 32 };
    const matrix m = { field(d, 0), field(d, 16), field(d, 32), swizzles[d >> 62], mn_major };
    const uint64_t reserved = 3ull << 14 | 3ull << 30 | 7ull << 46 | 0x3ffull << 52, base_offset = 7ull << 49;

    if (d & (reserved | base_offset))
        shim_fail("a descriptor %016llx with bits that have no meaning here", (unsigned long long)d);
    /* If a matrix began in the middle of a pattern, the base offset would have to say where that pattern
     * starts. */
    if (m.start & (8 * m.swizzle - 1) & ~127u && m.swizzle > 16)
        shim_fail("a descriptor that starts at %u, within a pattern of %u bytes", m.start, 8 * m.swizzle);
    return m;
}

/* Chunk c of row or column `mn` (K-major), or of k (MN-major).  In units of chunks the canonical layouts
 * are (CUTLASS' notation, shape : stride; T chunks in a row of the swizzle, 2 to 8)
 *
 *     K-major   none ((8, n), 2) : ((1, STRIDE), LEADING) else ((8, n), 2) : ((T, STRIDE), 1)
 *     MN-major  none (n, (8, 2)) : (STRIDE, (1, LEADING)) else ((T, n), (8, 2)) : ((1, LEADING), (T, STRIDE))
 */
static uint32_t address_of(const matrix *m, uint32_t along, uint32_t c)
{
    const uint32_t t = m->swizzle / 16;
    uint32_t at = m->start;

    if (!m->mn_major)
        at += along % 8 * m->swizzle + along / 8 * m->stride + c * (t == 1 ? m->leading : 16);
    else if (t == 1)
        at += along % 8 * 16 + along / 8 * m->leading + c * m->stride;
    else
        at += along % 8 * m->swizzle + along / 8 * m->stride + c % t * 16 + c / t * m->leading;
    return at ^ (at >> 7 & (t - 1)) << 4;
}

/* Values in a chunk. */
static int chunk_values(shim_format format)
{
    return format == SHIM_E4M3 ? CHUNK_BYTES : CHUNK_BYTES / 2;
}

static float to_float(uint16_t bits, shim_format format)
{
    return format == SHIM_BF16  ? dr_float_from_bf16(bits)
           : format == SHIM_F16 ? dr_float_from_f16(bits)
                                : dr_float_from_e4m3((uint8_t)bits);
}

/* to[i * step]: the chunk's values. */
static void load_chunk(uint32_t address, shim_format format, float *to, int step)
{
    const uint32_t at = address - SHIM_SHARED_BASE;
    const char *from = (const char *)shim_shared() + at;

    if (address < SHIM_SHARED_BASE || at + CHUNK_BYTES > shim_running()->shared_bytes)
        shim_fail("a product reads shared memory at %u: the block has %zu bytes from %d", address,
                  shim_running()->shared_bytes, SHIM_SHARED_BASE);
    if (wgmma.written[at / 16].thread &&
        wgmma.written[at / 16].fences == wgmma.fences[wgmma.written[at / 16].thread - 1])
        shim_fail("a product reads what thread %d copied, without a fence.proxy.async since",
                  wgmma.written[at / 16].thread - 1);
    for (int i = 0; i < chunk_values(format); i++)
        to[i * step] =
            to_float(format == SHIM_E4M3 ? ((const uint8_t *)from)[i] : ((const uint16_t *)from)[i], format);
}

/* to[mn * mn_step + k * k_step]: all of it. */
static void load_matrix(uint64_t descriptor, bool mn_major, shim_format format, uint32_t mn, float *to,
                        int mn_step, int k_step)
{
    const matrix m = decode(descriptor, mn_major);
    const int values = chunk_values(format);

    if (mn_major && format == SHIM_E4M3)
        shim_fail("a product of 8-bit values that do not lie along K");
    for (uint32_t i = 0; i < mn && !mn_major; i++)
        for (uint32_t c = 0; c < 2; c++)
            load_chunk(address_of(&m, i, c), format, to + (int)i * mn_step + (int)c * values * k_step,
                       k_step);
    for (uint32_t k = 0; k < 16 && mn_major; k++)
        for (uint32_t c = 0; c < mn / 8; c++)
            load_chunk(address_of(&m, k, c), format, to + (int)k * k_step + (int)c * values * mn_step,
                       mn_step);
}

/* --- products --------------------------------------------------------------------------- */

/* Value i of d in lane `lane` is D's (row, column); with pairs of a, A's as well. */
static int row_of(int lane, int i)
{
    return lane / 32 * 16 + lane % 32 / 4 + i / 2 % 2 * 8;
}

static int column_of(int lane, int i)
{
    return i / 4 * 8 + lane % 4 * 2 + i % 2;
}

static sums *take_sums(warpgroup *g, void *const operands[])
{
    const shim_wgmma *w = operands[0];
    sums *unused = NULL;

    for (int i = 0; i < SUMS_MAX; i++) {
        sums *s = &g->sums[i];

        if (!s->products)
            unused = s;
        else if (s->d[0] == w->d && s->n != w->n)
            shim_fail("a product of %d columns to the sums of one of %d that is not done", w->n, s->n);
        else if (s->d[0] == w->d)
            return s;
    }
    if (!unused)
        shim_fail("has products for %d different sums on their way: more than the shim expects", SUMS_MAX);
    unused->n = w->n;
    for (int lane = 0; lane < SHIM_GROUP_LANES; lane++) {
        float *d = unused->d[lane] = ((const shim_wgmma *)operands[lane])->d;

        for (int i = 0; i < w->n / 2; i++)
            unused->value[row_of(lane, i)][column_of(lane, i)] = d[i];
        memset(d, 0xff, (size_t)w->n / 2 * sizeof(*d));
    }
    return unused;
}

static void check_alike(void *const operands[])
{
    const shim_wgmma *first = operands[0];

    for (int lane = 1; lane < SHIM_GROUP_LANES; lane++) {
        const shim_wgmma *w = operands[lane];

        if (w->a_matrix != first->a_matrix || w->b_matrix != first->b_matrix || w->n != first->n ||
            w->add != first->add || w->format != first->format || !w->a != !first->a)
            shim_fail("the threads of a warpgroup have different products");
    }
}

static void run_wgmma(void *const operands[])
{
    warpgroup *g = mine();
    product *p = &g->products[g->count];

    wgmma.used = wgmma.multiplied = true;
    check_alike(operands);
    if (!g->fenced)
        shim_fail("a product with no wgmma.fence since the last commit or wait");
    if (g->count == PRODUCTS_MAX)
        shim_fail("has %d products on their way: more than the shim expects", PRODUCTS_MAX);
    p->w = *(const shim_wgmma *)operands[0];
    for (int lane = 0; lane < SHIM_GROUP_LANES; lane++)
        p->a[lane] = ((const shim_wgmma *)operands[lane])->a;
    p->sums = take_sums(g, operands);
    p->sums->products++;
    p->group = g->group;
    g->count++;
}

static void load_a(const product *p, float a[M][K_MAX])
{
    if (!p->w.a)
        load_matrix(p->w.a_matrix, p->w.a_mn_major, p->w.format, M, a[0], K_MAX, 1);
    for (int lane = 0; lane < SHIM_GROUP_LANES && p->w.a; lane++)
        for (int i = 0; i < 8; i++)
            a[row_of(lane, i)][column_of(lane, i)] =
                to_float((uint16_t)(p->a[lane][i / 2] >> i % 2 * 16), p->w.format);
}

/* Toward zero, to 13 bits behind the first. */
static float cut_short(float sum)
{
    return dr_float_from_bits(dr_bits_from_float(sum) & ~((UINT32_C(1) << 10) - 1));
}

/* The hardware's order of the products is its own: here it is the channels'. */
static void multiply(const product *p)
{
    static float a[M][K_MAX], b[K_MAX][N_MAX];
    const int ks = 2 * chunk_values(p->w.format);

    load_a(p, a);
    load_matrix(p->w.b_matrix, p->w.b_mn_major, p->w.format, (uint32_t)p->w.n, b[0], 1, N_MAX);
    for (int i = 0; i < M; i++)
        for (int tile = 0; tile < p->w.n; tile += 8) {
            float c[8], *sum = &p->sums->value[i][tile];

            for (int j = 0; j < 8; j++)
                c[j] = p->w.add ? sum[j] : 0.0f;
            for (int k = 0; k < ks; k++)
                for (int j = 0; j < 8; j++)
                    c[j] += a[i][k] * b[k][tile + j];
            for (int j = 0; j < 8; j++)
                sum[j] = p->w.format == SHIM_E4M3 ? cut_short(c[j]) : c[j];
        }
}

static void give_back(const sums *s)
{
    for (int lane = 0; lane < SHIM_GROUP_LANES; lane++)
        for (int i = 0; i < s->n / 2; i++) {
            uint32_t left;

            memcpy(&left, &s->d[lane][i], sizeof(left));
            if (left != UINT32_MAX)
                shim_fail("lane %d of the warpgroup wrote to the sums of a product that was not done", lane);
            s->d[lane][i] = s->value[row_of(lane, i)][column_of(lane, i)];
        }
}

static void run_fence(void *const operands[])
{
    (void)operands;
    mine()->fenced = true;
}

static void run_commit(void *const operands[])
{
    warpgroup *g = mine();

    (void)operands;
    g->group++;
    g->fenced = false;
    if (shim_random_below(2))
        while (g->ran < g->count)
            multiply(&g->products[g->ran++]);
}

static void run_wait(void *const operands[])
{
    warpgroup *g = mine();
    int done = 0;

    for (; done < g->count && g->products[done].group < g->group - *(const int *)operands[0]; done++) {
        sums *s = g->products[done].sums;

        if (done >= g->ran)
            multiply(&g->products[done]);
        if (--s->products == 0)
            give_back(s);
    }
    g->ran -= g->ran < done ? g->ran : done;
    g->count -= done;
    memmove(g->products, g->products + done, (size_t)g->count * sizeof(product));
    g->fenced = false;
}

const shim_instruction shim_wgmma_instruction = { "wgmma.mma_async", run_wgmma, SHIM_GROUP_LANES };
const shim_instruction shim_wgmma_fence_instruction = { "wgmma.fence", run_fence, SHIM_GROUP_LANES };
const shim_instruction shim_wgmma_commit_instruction = { "wgmma.commit_group", run_commit, SHIM_GROUP_LANES };
const shim_instruction shim_wgmma_wait_instruction = { "wgmma.wait_group", run_wait, SHIM_GROUP_LANES };
