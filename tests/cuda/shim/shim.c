/* shim.c - the scheduler of the host's CUDA threads: see run.h.
 *
 * Each thread of a block has a stack of its own.  The scheduler, on the test's stack, resumes one thread
 * after the other; a thread returns to the scheduler when the thread has to wait or has left the kernel. */
#include "tests/cuda/shim/run.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <sanitizer/asan_interface.h>

enum {
    STACK_BYTES = 64 << 10,       /* a kernel has no deep calls; AddressSanitizer trebles its frames */
    SHARED_MAP_BYTES = 228 << 10, /* that, in whole pages */
    GUARD_BYTES = 4096,
    COPIES_MAX = 64, /* of one thread, on their way at a time */
};

typedef enum thread_state { RUNNABLE, AT_BARRIER, AT_INSTRUCTION, LEFT } thread_state;

typedef struct copy {
    void *to;
    const void *from;
    int group;
} copy;

typedef struct thread {
    void *stack; /* its pointer, while it does not run */
    void *asan_stack;
    thread_state state;
    int line; /* of what it waits at */
    const shim_instruction *instruction;
    uint32_t mask;
    void *operands;
    copy copies[COPIES_MAX];
    int copy_count, group; /* copies are in order; the group that is being filled */
} thread;

static struct shim {
    uint64_t random;
    char error[512];
    char *stacks;     /* [SHIM_THREADS_MAX], each with a page below it that faults */
    char *shared_end; /* a page that faults lies behind it */
    shim_grid grid;
    shim_size block;
    thread thread[SHIM_THREADS_MAX];
    int arrived
        [SHIM_THREADS_MAX /
         SHIM_LANES]; /* lanes of each warp, or warpgroup, that are AT_INSTRUCTION: at its first warp */
    unsigned self;    /* the one that runs */
    void *scheduler;  /* its stack pointer, while a thread runs */
    void *asan_stack;
    const void *test_stack; /* for AddressSanitizer */
    size_t test_stack_bytes;
} shim;

shim_launcher *shim_stream;

/* --- order ---------------------------------------------------------------------------- */

uint32_t shim_random_below(uint32_t limit)
{
    shim.random = shim.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((shim.random >> 32) * limit >> 32);
}

static void shuffle(uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t j = shim_random_below(i + 1);

        order[i] = order[j];
        order[j] = i;
    }
}

void shim_seed(uint64_t seed)
{
    shim.random = seed;
    shim.error[0] = 0;
}

const char *shim_error(void)
{
    return shim.error[0] ? shim.error : NULL;
}

/* --- stacks --------------------------------------------------------------------------- */

/* Pushes the registers that a function must preserve, stores the stack pointer in *from, and goes on with the
 * stack `to`. */
__attribute__((naked, noinline)) static void swap_stacks(void **from, void *to)
{
    (void)from, (void)to;
    __asm__(
        "pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n\t"
        "movq %rsp, (%rdi); movq %rsi, %rsp\n\t"
        "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}

static char *stack_of(unsigned i)
{
    return shim.stacks + (size_t)i * STACK_BYTES;
}

/* Onto the stack of thread i, until it comes back. */
static void resume(unsigned i)
{
    shim.self = i;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&shim.asan_stack, stack_of(i) + GUARD_BYTES, STACK_BYTES - GUARD_BYTES);
#endif
    swap_stacks(&shim.scheduler, shim.thread[i].stack);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(shim.asan_stack, NULL, NULL);
#endif
}

/* Back to the scheduler, until it resumes this thread. */
static void give_way(void)
{
    thread *self = &shim.thread[shim.self];

#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(self->state == LEFT ? NULL : &self->asan_stack, shim.test_stack,
                                   shim.test_stack_bytes);
#endif
    swap_stacks(&self->stack, shim.scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(self->asan_stack, NULL, NULL);
#endif
}

static void run_thread(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &shim.test_stack, &shim.test_stack_bytes);
#endif
    shim.grid.body(shim.grid.args);
    if (shim.thread[shim.self].copy_count)
        shim_fail("leaves with copies (cp.async) that it did not wait for");
    if (shim_wgmma_is_in_flight())
        shim_fail("leaves with products (wgmma) that it did not wait for");
    shim.thread[shim.self].state = LEFT;
    give_way();
    dr_assert(!"a thread that has left is not resumed");
}

/* A stack that swap_stacks() finds six registers and run_thread() on. */
static void new_thread(unsigned i)
{
    void **top = (void **)(void *)(stack_of(i) + STACK_BYTES - 8);
    thread *t = &shim.thread[i];

    top[0] = NULL; /* run_thread() returns nowhere; and its stack is where a call would have left it */
    *--top = (void *)run_thread;
    for (int j = 0; j < 6; j++)
        *--top = NULL;
    ASAN_UNPOISON_MEMORY_REGION(stack_of(i), STACK_BYTES); /* what a failed launch left */
    t->stack = top;
    t->state = RUNNABLE;
    t->copy_count = t->group = 0;
}

static char *map_memory(size_t bytes)
{
    char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    dr_assert(memory != MAP_FAILED);
    return memory;
}

static void map_memories(void)
{
    if (shim.stacks)
        return;
    shim.stacks = map_memory((size_t)SHIM_THREADS_MAX * STACK_BYTES);
    for (unsigned i = 0; i < SHIM_THREADS_MAX; i++)
        dr_assert(mprotect(stack_of(i), GUARD_BYTES, PROT_NONE) == 0);
    shim.shared_end = map_memory(SHARED_MAP_BYTES + GUARD_BYTES) + SHARED_MAP_BYTES;
    dr_assert(mprotect(shim.shared_end, GUARD_BYTES, PROT_NONE) == 0);
}

/* --- errors --------------------------------------------------------------------------- */

static void describe(char *to, size_t bytes, const thread *t)
{
    if (t->state == LEFT)
        snprintf(to, bytes, "has left the kernel");
    else if (t->line)
        snprintf(to, bytes, "stands at %s in line %d",
                 t->state == AT_BARRIER ? "__syncthreads" : t->instruction->name, t->line);
    else
        snprintf(to, bytes, "stands at %s", t->instruction->name);
}

static void report(unsigned i, const char *format, va_list list)
{
    const shim_size b = shim.block;
    const int n = snprintf(shim.error, sizeof(shim.error),
                           "%s, block (%u, %u, %u), thread %u: ", shim.grid.kernel, b.x, b.y, b.z, i);

    vsnprintf(shim.error + n, sizeof(shim.error) - (size_t)n, format, list);
}

void shim_fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    report(shim.self, format, list);
    va_end(list);
    shim.thread[shim.self].state = LEFT;
    give_way();
    __builtin_unreachable();
}

__attribute__((format(printf, 2, 3))) static void fail_thread(unsigned i, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    report(i, format, list);
    va_end(list);
}

static void fail_apart(unsigned a, unsigned b)
{
    char here[96], there[96];

    describe(here, sizeof(here), &shim.thread[a]);
    describe(there, sizeof(there), &shim.thread[b]);
    fail_thread(a, "%s, thread %u %s", here, b, there);
}

/* --- waiting -------------------------------------------------------------------------- */

void shim_barrier(int line)
{
    thread *self = &shim.thread[shim.self];

    self->state = AT_BARRIER;
    self->line = line;
    give_way();
}

/* The first of those that execute an instruction together with thread i. */
static unsigned first_of(unsigned i, const shim_instruction *instruction)
{
    return i / instruction->lanes * instruction->lanes;
}

/* The lane of the mask that is not where `self` is; -1: all are. */
static int missing(const thread *self, unsigned first)
{
    for (unsigned i = 0; i < self->instruction->lanes; i++) {
        const thread *t = &shim.thread[first + i];

        if (!(self->mask >> i % SHIM_LANES & 1))
            continue;
        if (first + i >= shim.grid.threads || t->state != AT_INSTRUCTION || t->line != self->line ||
            t->instruction != self->instruction || t->mask != self->mask)
            return (int)i;
    }
    return -1;
}

void shim_together(const shim_instruction *instruction, uint32_t mask, int line, void *operands)
{
    const unsigned first = first_of(shim.self, instruction);
    int *arrived = &shim.arrived[first / SHIM_LANES];
    const int lanes = __builtin_popcount(mask) * (int)(instruction->lanes / SHIM_LANES);
    thread *self = &shim.thread[shim.self];
    void *all[SHIM_GROUP_LANES];

    if (!(mask >> shim.self % SHIM_LANES & 1))
        shim_fail("is not in its own mask %08x at %s in line %d", mask, instruction->name, line);
    self->state = AT_INSTRUCTION;
    self->line = line;
    self->instruction = instruction;
    self->mask = mask;
    self->operands = operands;
    if (++*arrived < lanes || missing(self, first) >= 0) {
        give_way();
        return;
    }
    *arrived -= lanes;
    for (unsigned i = 0; i < instruction->lanes; i++) {
        all[i] = NULL;
        if (mask >> i % SHIM_LANES & 1) {
            all[i] = shim.thread[first + i].operands;
            shim.thread[first + i].state = RUNNABLE;
        }
    }
    instruction->run(all);
}

/* --- cp.async --------------------------------------------------------------------------- */

void shim_copy_async(void *to, const void *from)
{
    thread *self = &shim.thread[shim.self];

    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        shim_fail("cp.async from %p to %p: 16 bytes that are not aligned", from, to);
    if (self->copy_count == COPIES_MAX)
        shim_fail("has %d copies on their way: more than the shim expects", COPIES_MAX);
    self->copies[self->copy_count++] = (copy){ to, from, self->group };
    memset(to, 0xff, 16); /* a thread that still reads the old data, or does not wait, gets NaN */
}

void shim_copy_commit(void)
{
    shim.thread[shim.self].group++;
}

void shim_copy_wait(int groups_left)
{
    thread *self = &shim.thread[shim.self];
    int done = 0;

    for (; done < self->copy_count && self->copies[done].group < self->group - groups_left; done++) {
        if (self->copies[done].from)
            memcpy(self->copies[done].to, self->copies[done].from, 16);
        else
            memset(self->copies[done].to, 0, 16);
        shim_wgmma_copied(self->copies[done].to);
    }
    self->copy_count -= done;
    memmove(self->copies, self->copies + done, (size_t)self->copy_count * sizeof(copy));
}

/* --- blocks ----------------------------------------------------------------------------- */

unsigned shim_thread_index(void)
{
    return shim.self;
}

shim_size shim_block_index(void)
{
    return shim.block;
}

const shim_grid *shim_running(void)
{
    return &shim.grid;
}

void *shim_shared(void)
{
    return shim.shared_end - shim.grid.shared_bytes;
}

uint32_t shim_shared_address(const void *at)
{
    const ptrdiff_t bytes = (const char *)at - (const char *)shim_shared();

    if (bytes < 0 || (size_t)bytes >= shim.grid.shared_bytes || bytes % 16)
        shim_fail("takes the address of byte %td of %zu of shared memory", bytes, shim.grid.shared_bytes);
    return SHIM_SHARED_BASE + (uint32_t)bytes;
}

/* Lets the lanes of a warp run until none can.  Returns whether any could. */
static bool run_warp(unsigned first)
{
    uint32_t lanes[SHIM_LANES];
    bool ran = false, again;

    shuffle(lanes, SHIM_LANES);
    do {
        again = false;
        for (int i = 0; i < SHIM_LANES && !shim.error[0]; i++) {
            const unsigned t = first + lanes[i];

            if (t < shim.grid.threads && shim.thread[t].state == RUNNABLE) {
                resume(t);
                again = ran = true;
            }
        }
    } while (again && !shim.error[0]);
    return ran;
}

/* No thread can run.  If all threads stand at one barrier, they go on.  Otherwise that is an error. */
static void open_barrier(void)
{
    unsigned waiting = 0;

    while (shim.thread[waiting].state == LEFT)
        waiting++;
    for (unsigned i = 0; i < shim.grid.threads; i++) {
        const thread *t = &shim.thread[i];

        if (t->state == AT_INSTRUCTION) {
            const unsigned first = first_of(i, t->instruction), other = first + (unsigned)missing(t, first);

            if (other < shim.grid.threads)
                fail_apart(i, other);
            else
                fail_thread(i, "waits for lane %u of a warp%s that has %u", other - first,
                            t->instruction->lanes == SHIM_LANES ? "" : "group", shim.grid.threads - first);
            return;
        }
    }
    for (unsigned i = 0; i < shim.grid.threads; i++) {
        if (shim.thread[i].state != AT_BARRIER || shim.thread[i].line != shim.thread[waiting].line) {
            fail_apart(waiting, i);
            return;
        }
    }
    for (unsigned i = 0; i < shim.grid.threads; i++)
        shim.thread[i].state = RUNNABLE;
}

static bool all_left(void)
{
    for (unsigned i = 0; i < shim.grid.threads; i++)
        if (shim.thread[i].state != LEFT)
            return false;
    return true;
}

static void run_block(void)
{
    const uint32_t warps = (shim.grid.threads + SHIM_LANES - 1) / SHIM_LANES;
    uint32_t slow = shim_random_below(warps);
    uint32_t order[SHIM_THREADS_MAX / SHIM_LANES];

    memset(shim_shared(), 0xff, shim.grid.shared_bytes);
    memset(shim.arrived, 0, sizeof(shim.arrived));
    shim_wgmma_begin();
    for (unsigned i = 0; i < shim.grid.threads; i++)
        new_thread(i);
    while (!shim.error[0] && !all_left()) {
        bool ran = false;

        shuffle(order, warps);
        for (uint32_t w = 0; w < warps && !shim.error[0]; w++)
            if (order[w] != slow)
                ran |= run_warp(order[w] * SHIM_LANES);
        if (!ran && !shim.error[0]) {
            ran = run_warp(slow * SHIM_LANES);
            slow = shim_random_below(warps);
        }
        if (!ran && !shim.error[0])
            open_barrier();
    }
}

void shim_launch(void *stream, const shim_grid *grid)
{
    if (shim_stream)
        shim_stream(stream, grid);
    else
        shim_run_grid(grid);
}

void shim_run_grid(const shim_grid *grid)
{
    const shim_size g = grid->blocks;
    const uint32_t blocks = g.x * g.y * g.z;
    uint32_t start, step;

    if (shim.error[0])
        return;
    map_memories();
    shim.grid = *grid;
    shim.block = (shim_size){ 0, 0, 0 };
    if (!blocks || g.y > 65535 || g.z > 65535 || !shim.grid.threads || shim.grid.threads > SHIM_THREADS_MAX ||
        grid->shared_bytes > SHIM_SHARED_BYTES_MAX || grid->shared_bytes % 16) {
        fail_thread(0, "a grid of %u x %u x %u blocks, %u threads, %zu bytes of shared memory", g.x, g.y, g.z,
                    shim.grid.threads, grid->shared_bytes);
        return;
    }
    /* Visits the blocks in an order that needs no list: in steps of a number that has no divisor in common
     * with the number of blocks. */
    start = shim_random_below(blocks);
    for (step = shim_random_below(blocks) | 1; blocks > 1; step += 2) {
        uint32_t a = blocks, b = step % blocks;

        while (b) {
            const uint32_t rest = a % b;

            a = b;
            b = rest;
        }
        if (a == 1)
            break;
    }
    shim_wgmma_begin_grid();
    for (uint32_t i = 0; i < blocks && !shim.error[0]; i++) {
        const uint32_t b = (uint32_t)((start + (uint64_t)i * step) % blocks);

        shim.block = (shim_size){ b % g.x, b / g.x % g.y, b / g.x / g.y };
        run_block();
    }
    if (!shim.error[0] && grid->shared_bytes > SHIM_SHARED_BYTES_OF_ALL && !shim_wgmma_is_used())
        fail_thread(0, "%zu bytes of shared memory, without a product of a warpgroup: sm_86 has %d",
                    grid->shared_bytes, SHIM_SHARED_BYTES_OF_ALL);
}
