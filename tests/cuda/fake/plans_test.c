/* Tests how a product's kernel is chosen, over a made-up cuBLASLt that offers the kernels that the test
 * names.  Tests also the file that remembers the choice, when the file is damaged or can't be written,
 * too. */
#include "base/limits.h"
#include "ops/cuda/plans.h"
#include "ops/cuda/product.h"
#include "ops/ops.h"
#include "tests/cuda/fake/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { IN = 70, OUT = 24, TOKENS = 5, ROWS = 3 };

static char folder[] = "/tmp/darkroom-plans-XXXXXX";
#define NAME "NVIDIA_Pretend-sm90-driver13000-runtime13000-cublaslt130100.plans"

static const char *file_path(void)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, NAME);
    return path;
}

static int machine(void **state)
{
    (void)state;
    fake_cuda_reset();
    unlink(file_path());
    return 0;
}

/* --- a product ------------------------------------------------------------------------- */

static dr_device *open_as(const dr_device_options *options)
{
    dr_device_options unchecked = *options;
    dr_device *device;
    dr_error err;

    unchecked.unchecked = true;
    if (dr_device_open(&device, &unchecked, &err))
        fail_msg("%s", err.text);
    return device;
}

static dr_device *open_device(const char *plan_cache)
{
    return open_as(&(dr_device_options){ .name = "cuda:0", .storage = "bf16", .plan_cache = plan_cache });
}

static void close_device(dr_device *device)
{
    dr_device_close(device);
    assert_int_equal(fake_cuda.blocks, 0);
    assert_int_equal(fake_cuda.events, 0);
    assert_int_equal(fake_cuda.handles, 0);
}

static dr_linear *new_linear(dr_device *device)
{
    float weight[IN * OUT], bias[OUT];
    dr_linear *linear;
    dr_error err;

    for (int i = 0; i < IN * OUT; i++)
        weight[i] = (float)(i * 37 % 101 - 50) / 64.0f;
    for (int i = 0; i < OUT; i++)
        bias[i] = (float)i / 32.0f;
    assert_int_equal(
        dr_linear_create(&linear, device,
                         &(dr_linear_desc){
                             .name = "to_q", .in = IN, .out = OUT, .weight = weight, .bias = bias },
                         &err),
        DR_OK);
    return linear;
}

/* The arguments for tensors that have no memory yet.  Planning looks at the alignment of their addresses. */
static dr_linear_args args_of(const dr_linear *linear, int tokens)
{
    static char x_place[16] __attribute__((aligned(16))), y_place[16] __attribute__((aligned(16)));
    const dr_tensor x = {
        .data = x_place, .dtype = DR_BF16, .n = ROWS, .h = 1, .w = tokens, .c = IN, .ld = IN
    };
    const dr_tensor y = {
        .data = y_place, .dtype = DR_BF16, .n = ROWS, .h = 1, .w = tokens, .c = OUT, .ld = OUT
    };

    return (dr_linear_args){ .linear = linear, .x = x, .y = y };
}

static dr_status plan(dr_device *device, const dr_linear_args *a, dr_error *err)
{
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };

    dr_arena_init(&arena, NULL, SIZE_MAX);
    dr_apply_linear(&pass, a);
    *err = pass.error;
    return pass.error.status;
}

/* The time that the chosen kernel takes by the made-up machine's clock.  It tells which kernel was chosen. */
static double ms_of_a_product(dr_device *device, dr_linear_args *a, uint16_t *y)
{
    const size_t x_bytes = ROWS * TOKENS * IN * 2, y_bytes = ROWS * TOKENS * OUT * 2;
    dr_pass pass = { .device = device };
    uint16_t x[ROWS * TOKENS * IN];
    double before;
    dr_error err;

    for (int i = 0; i < ROWS * TOKENS * IN; i++)
        x[i] = (uint16_t)(0x3f00 + i * 29 % 255); /* bf16: 0.5 to 2 */
    assert_int_equal(dr_device_alloc(&a->x.data, device, x_bytes, &err), DR_OK);
    assert_int_equal(dr_device_alloc(&a->y.data, device, y_bytes, &err), DR_OK);
    assert_int_equal(dr_device_upload(device, a->x.data, x, x_bytes, &err), DR_OK);
    before = fake_cuda.clock_ms;
    dr_apply_linear(&pass, a);
    assert_int_equal(pass.error.status, DR_OK);
    assert_int_equal(dr_device_download(device, y, a->y.data, y_bytes, &err), DR_OK);
    dr_device_free(device, a->x.data);
    dr_device_free(device, a->y.data);
    return fake_cuda.clock_ms - before;
}

/* Plans and runs on a new device.  The time tells which kernel ran.  If the choice was remembered, `choices`
 * is 0. */
typedef struct outcome {
    double ms;
    int choices;
    uint16_t y[ROWS * TOKENS * OUT];
    char note[600];
} outcome;

static void take_note(dr_device *device, outcome *o)
{
    const char *note = dr_device_note(device);

    if (note)
        snprintf(o->note, sizeof(o->note), "%s", note);
    assert_null(dr_device_note(device)); /* told once */
}

static outcome draw(const char *plan_cache)
{
    const int choices = fake_cuda.choices;
    dr_device *device = open_device(plan_cache);
    dr_linear *linear = new_linear(device);
    dr_linear_args a = args_of(linear, TOKENS);
    outcome o = { .ms = 0 };
    dr_error err;

    take_note(device, &o);
    if (plan(device, &a, &err))
        fail_msg("%s", err.text);
    take_note(device, &o);
    o.ms = ms_of_a_product(device, &a, o.y);
    o.choices = fake_cuda.choices - choices;
    dr_linear_free(linear);
    close_device(device);
    return o;
}

static void offer(const fake_kernel *kernel, int count)
{
    fake_cuda.kernels_offered = count;
    memcpy(fake_cuda.kernel, kernel, (size_t)count * sizeof(*kernel));
}
#define OFFER(...) \
    offer((fake_kernel[]){ __VA_ARGS__ }, sizeof((fake_kernel[]){ __VA_ARGS__ }) / sizeof(fake_kernel))

/* --- choosing ------------------------------------------------------------------------------ */

static void the_fastest_with_the_same_bits_is_taken(void **state)
{
    (void)state;
    OFFER({ .step = 8, .ms = 5 }, { .step = 16, .ms = 1 }, { .step = 8, .ms = 3 }, { .step = 8, .ms = 4 },
          { .step = 12, .ms = 2 });
    assert_true(draw(NULL).ms == 3);
}

/* The bits are those of the first kernel, whichever kernel is fast.  So two workers draw the same pictures
 * even if their measurements differ. */
static void what_is_fast_does_not_show(void **state)
{
    outcome here, there;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 16, .ms = 1 }, { .step = 8, .ms = 3 });
    here = draw(NULL);
    OFFER({ .step = 8, .ms = 2 }, { .step = 16, .ms = 1 }, { .step = 8, .ms = 3 });
    there = draw(NULL);
    assert_true(here.ms == 3 && there.ms == 2);
    assert_memory_equal(here.y, there.y, sizeof(here.y));
}

/* A kernel whose rows differ when they are alone is never chosen, whatever the preferences say, even if it is
 * the first or the fastest. */
static void a_row_is_the_same_alone(void **state)
{
    dr_device *device;
    dr_linear *linear;
    dr_linear_args a;
    dr_error err;
    (void)state;

    OFFER({ .ms = 1, .by_columns = true }, { .step = 16, .ms = 5 }, { .step = 8, .ms = 2 },
          { .step = 16, .ms = 4 }, { .ms = 1, .by_columns = true });
    assert_true(draw(NULL).ms == 4);

    OFFER({ .ms = 1, .by_columns = true });
    device = open_device(NULL);
    linear = new_linear(device);
    a = args_of(linear, TOKENS);
    assert_int_equal(plan(device, &a, &err), DR_EUNSUPPORTED);
    assert_string_equal(err.text,
                        "cuda:0: cuBLASLt has no kernel for a product of 70 by 24 that does a row "
                        "alone as in company");
    dr_linear_free(linear);
    close_device(device);
}

/* With `fast` the same bits are not required.  Each number of rows has its own kernel, and one row of one
 * token works too. */
static void fast_asks_for_speed_alone(void **state)
{
    const dr_device_options fast = {
        .name = "cuda:0", .storage = "bf16", .plan_cache = folder, .fast = true
    };
    uint16_t y[ROWS * TOKENS * OUT];
    dr_device *device = open_as(&fast);
    dr_linear *linear = new_linear(device);
    dr_linear_args many = args_of(linear, TOKENS), one = args_of(linear, 1);
    const int before = fake_cuda.choices;
    dr_error err;
    (void)state;

    assert_string_equal(dr_device_arithmetic(device), "cuda sm90 bf16 cublaslt130100 wgmma fast");
    OFFER({ .step = 8, .ms = 5 }, { .ms = 2, .by_columns = true }, { .step = 16, .ms = 3 });
    assert_int_equal(plan(device, &many, &err), DR_OK);
    assert_int_equal(plan(device, &many, &err), DR_OK);
    assert_int_equal(fake_cuda.choices, before + 1);
    assert_true(ms_of_a_product(device, &many, y) == 2);

    one.x.n = one.y.n = 1;
    OFFER({ .step = 8, .ms = 5 }, { .step = 16, .ms = 3 });
    assert_int_equal(plan(device, &one, &err), DR_OK);
    assert_int_equal(fake_cuda.choices, before + 2);
    dr_linear_free(linear);
    close_device(device);

    /* A choice that was made with `fast` is not used by those who require the same bits. */
    assert_true(draw(folder).ms == 5);
}

static void one_that_refuses_is_passed_over(void **state)
{
    (void)state;
    OFFER({ .ms = 1, .refuses = true }, { .step = 8, .ms = 3 }, { .step = 8, .ms = 2, .refuses = true });
    assert_true(draw(NULL).ms == 3);
}

/* Plans the product with a second kernel that sums in other steps than the first one. */
static void assert_order_shows(dr_device *device, const dr_linear_args *a, int step)
{
    const double before = fake_cuda.clock_ms;
    dr_error err;

    OFFER({ .step = 8, .ms = 1000 }, { .step = step, .ms = 1 });
    assert_int_equal(plan(device, a, &err), DR_OK);
    if (fake_cuda.clock_ms - before != (2 + DR_CUDA_MEASURED_RUNS) * 1000 + 2)
        fail_msg("in steps of %d: was taken for the same",
                 step); /* the second kernel is measured only if its order is the same */
}

static const int other_steps[] = { 1, 2, 3, 5, 7, 9, 12, 16, 24, 32, 64 };

/* With one token in a row, the sum is so short that its rounding is far below bf16's.  Another order of the
 * sum is still noticed. */
static void an_order_shows_where_the_storage_is_coarse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(other_steps) / sizeof(other_steps[0]); i++) {
        dr_device *device = open_device(NULL);
        dr_linear *linear = new_linear(device);
        const dr_linear_args a = args_of(linear, 1);

        assert_order_shows(device, &a, other_steps[i]);
        dr_linear_free(linear);
        close_device(device);
    }
}

/* Products of 8-bit values have so few bits that a sum of ordinary products is exact in any order. */
static void an_order_shows_in_eight_bits(void **state)
{
    enum { IN8 = 80, OUT8 = 32 };
    const float weight[IN8 * OUT8] = { 1.0f };
    (void)state;

    for (size_t i = 0; i < sizeof(other_steps) / sizeof(other_steps[0]); i++) {
        dr_device *device = open_as(&(dr_device_options){ .name = "cuda:0", .fp8 = "all" });
        dr_linear_args a;
        dr_linear *linear;
        dr_error err;

        assert_int_equal(dr_linear_create(&linear, device,
                                          &(dr_linear_desc){ .name = "to_q",
                                                             .in = IN8,
                                                             .out = OUT8,
                                                             .eight_bits = true,
                                                             .weight = weight },
                                          &err),
                         DR_OK);
        a = args_of(linear, 1);
        a.x.dtype = DR_E4M3;
        a.y.dtype = DR_F16;
        a.x.c = a.x.ld = IN8;
        a.y.c = a.y.ld = OUT8;
        assert_order_shows(device, &a, other_steps[i]);
        dr_linear_free(linear);
        close_device(device);
    }
}

/* --- memory ---------------------------------------------------------------------------------- */

/* With less memory than the rows need, kernels are measured with fewer rows.  With no memory nothing is
 * chosen. */
static void little_memory_is_enough(void **state)
{
    dr_device *device = open_device(folder);
    dr_linear *linear = new_linear(device);
    dr_linear_args a = args_of(linear, TOKENS);
    uint16_t y[ROWS * TOKENS * OUT];
    void *taken = NULL, *rest = NULL;
    dr_error err;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    /* 80 columns want 18,944 bytes, 40 of them 11,520. */
    assert_int_equal(dr_device_alloc(&taken, device, dr_device_memory_left(device) - 12000, &err), DR_OK);
    assert_int_equal(plan(device, &a, &err), DR_OK);
    dr_device_free(device, taken);
    assert_true(ms_of_a_product(device, &a, y) == 3);
    unlink(file_path());

    a = args_of(linear, TOKENS + 1);
    assert_int_equal(dr_device_alloc(&rest, device, dr_device_memory_left(device), &err), DR_OK);
    assert_int_equal(plan(device, &a, &err), DR_ENOMEM);
    dr_device_free(device, rest);
    assert_int_equal(access(file_path(), F_OK), -1);
    dr_linear_free(linear);
    close_device(device);
}

/* Each call of the runtime fails once while a kernel is chosen.  A lost device is reported, and a device that
 * is only full still works.  Nothing is left behind. */
static void a_failure_while_measuring_is_told(void **state)
{
    static const cudaError_t errors[] = { cudaErrorIllegalAddress, cudaErrorMemoryAllocation };
    (void)state;

    for (int kind = 0; kind < 2; kind++) {
        bool failed = true;
        int nth;

        for (nth = 1; failed; nth++) {
            dr_device *device;
            dr_linear *linear;
            dr_linear_args a;
            uint16_t y[ROWS * TOKENS * OUT];
            dr_status rc;
            dr_error err;

            fake_cuda_reset();
            OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
            device = open_device(NULL);
            linear = new_linear(device);
            a = args_of(linear, TOKENS);
            fake_cuda.fail_call = fake_cuda.calls + nth;
            fake_cuda.error = errors[kind];
            fake_cuda.sticky = kind == 0;
            rc = plan(device, &a, &err);
            failed = fake_cuda.calls >= fake_cuda.fail_call;
            fake_cuda.fail_call = 0;
            if (kind == 0 && failed) {
                assert_int_equal(rc, DR_EDEVICE);
                assert_memory_equal(err.text, "cuda:0 is lost: ", 16);
            } else {
                assert_true(rc == DR_OK || (kind == 1 && rc == DR_ENOMEM));
                assert_int_equal(plan(device, &a, &err), DR_OK);
                assert_true(ms_of_a_product(device, &a, y) == 3);
            }
            dr_linear_free(linear);
            close_device(device);
        }
        assert_true(nth > 40);
    }
}

/* --- the file -------------------------------------------------------------------------------- */

static void the_next_start_need_not_measure(void **state)
{
    outcome first, next;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    first = draw(folder);
    assert_true(first.ms == 3 && first.choices == 1);
    OFFER({ .step = 16, .ms = 1 }); /* is not asked for */
    next = draw(folder);
    assert_true(next.ms == 3 && next.choices == 0);
    assert_memory_equal(first.y, next.y, sizeof(first.y));
    assert_string_equal(first.note, "");
    assert_string_equal(next.note, "");
}

/* Another device or driver has its own file.  Its measurements are not used here, and they stay for that
 * machine. */
static void another_machine_has_another_file(void **state)
{
    char other[256];
    (void)state;

    draw(folder);
    fake_cuda.major = 8;
    assert_int_equal(draw(folder).choices, 1);
    snprintf(other, sizeof(other), "%s/NVIDIA_Pretend-sm80-driver13000-runtime13000-cublaslt130100.plans",
             folder);
    assert_int_equal(unlink(other), 0);
    fake_cuda.major = 9;
    fake_cuda.driver = 13010;
    assert_int_equal(draw(folder).choices, 1);
    snprintf(other, sizeof(other), "%s/NVIDIA_Pretend-sm90-driver13010-runtime13000-cublaslt130100.plans",
             folder);
    assert_int_equal(unlink(other), 0);
    fake_cuda.driver = 13000;
    assert_int_equal(draw(folder).choices, 0);
}

/* If the library no longer accepts a plan, a kernel is chosen again, and the new choice is remembered. */
static void a_plan_is_checked_before_use(void **state)
{
    (void)state;
    OFFER({ .step = 8, .ms = 5 });
    draw(folder);
    fake_cuda.blas_build = 1;
    OFFER({ .step = 8, .ms = 2 });
    for (int choices = 1; choices >= 0; choices--) {
        const outcome o = draw(folder);
        assert_true(o.ms == 2 && o.choices == choices);
        assert_string_equal(o.note, "");
    }
}

/* --- and what becomes of it --------------------------------------------------------------------- */

static size_t read_file(char *bytes, size_t most)
{
    FILE *file = fopen(file_path(), "rb");
    size_t size;

    assert_non_null(file);
    size = fread(bytes, 1, most, file);
    fclose(file);
    return size;
}

static void write_file(const char *bytes, size_t size)
{
    FILE *file = fopen(file_path(), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* Asserts that the reason is reported, that kernels are measured again, and that the next start finds a good
 * file. */
static void assert_measured_anew(const char *why)
{
    char note[600];
    outcome o = draw(folder);

    snprintf(note, sizeof(note), "cuda:0: plan cache: %s: %s; kernels are measured anew", file_path(), why);
    assert_string_equal(o.note, note);
    assert_true(o.ms == 3 && o.choices == 1);
    o = draw(folder);
    assert_string_equal(o.note, "");
    assert_true(o.ms == 3 && o.choices == 0);
}

static void a_damaged_file_is_told_and_written_anew(void **state)
{
    char good[4096], bad[4096], why[64];
    size_t size;
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    draw(folder);
    size = read_file(good, sizeof(good));
    assert_true(size > 300 && size < sizeof(good));
    for (size_t cut = 0; cut < size; cut += 11) {
        write_file(good, cut);
        snprintf(why, sizeof(why), cut < 264 ? "not a file of plans" : "%zu bytes are too few or too many",
                 cut);
        assert_measured_anew(why);
    }
    memcpy(bad, good, size);
    bad[size] = 0;
    write_file(bad, size + 1);
    snprintf(why, sizeof(why), "%zu bytes are too few or too many", size + 1);
    assert_measured_anew(why);
    for (size_t at = 16; at < size; at += 13) {
        memcpy(bad, good, size);
        bad[at] ^= 1;
        write_file(bad, size);
        assert_measured_anew("damaged: its checksum is another");
    }
}

/* Tests an undamaged file that somebody renamed by hand. */
static void a_foreign_file_is_told_and_written_anew(void **state)
{
    char other[256];
    (void)state;

    OFFER({ .step = 8, .ms = 5 }, { .step = 8, .ms = 3 });
    fake_cuda.driver = 13010;
    draw(folder);
    fake_cuda.driver = 13000;
    snprintf(other, sizeof(other), "%s/NVIDIA_Pretend-sm90-driver13010-runtime13000-cublaslt130100.plans",
             folder);
    assert_int_equal(rename(other, file_path()), 0);
    assert_measured_anew("of another device or other libraries");
}

/* Something that is no file has the file's name.  That is reported, and the device works. */
static void what_is_no_file_is_let_alone(void **state)
{
    char note[600];
    outcome o;
    (void)state;

    OFFER({ .step = 8, .ms = 3 });
    assert_int_equal(mkdir(file_path(), 0777), 0);
    o = draw(folder);
    snprintf(note, sizeof(note), "cuda:0: plan cache: %s: Is a directory; kernels are measured anew",
             file_path());
    assert_string_equal(o.note, note);
    assert_true(o.ms == 3);
    assert_int_equal(rmdir(file_path()), 0);
    assert_int_equal(mkfifo(file_path(), 0666),
                     0); /* nobody writes into the pipe, and we do not wait for it */
    assert_measured_anew("not a file");
}

static void a_folder_that_can_not_be_written_is_told(void **state)
{
    outcome o;
    (void)state;

    OFFER({ .step = 8, .ms = 3 });
    o = draw("/dev/null/darkroom");
    assert_string_equal(o.note,
                        "cuda:0: plan cache: /dev/null/darkroom: Not a directory; kernels are measured anew");
    assert_true(o.ms == 3 && o.choices == 1);
    o = draw("/dev/null");
    assert_string_equal(o.note, "cuda:0: plan cache: /dev/null: not a folder; kernels are measured anew");
}

/* The folder goes while the device is open.  That is reported once, when something is to be written. */
static void a_folder_that_goes_is_told(void **state)
{
    char lost[128], prefix[200];
    dr_device *device;
    dr_linear *linear;
    (void)state;

    snprintf(lost, sizeof(lost), "%s/a/b", folder);
    device = open_device(lost);
    linear = new_linear(device);
    assert_null(dr_device_note(device));
    assert_int_equal(rmdir(lost), 0);
    for (int tokens = 1; tokens < 3; tokens++) {
        const dr_linear_args a = args_of(linear, tokens);
        const char *note;
        dr_error err;

        assert_int_equal(plan(device, &a, &err), DR_OK);
        note = dr_device_note(device);
        assert_int_equal(note != NULL, tokens == 1);
        snprintf(prefix, sizeof(prefix), "cuda:0: plan cache: %s/NVIDIA_", lost);
        if (note)
            assert_memory_equal(note, prefix, strlen(prefix));
    }
    dr_linear_free(linear);
    close_device(device);
    snprintf(lost, sizeof(lost), "%s/a", folder);
    assert_int_equal(rmdir(lost), 0);
}

/* --- the table ------------------------------------------------------------------------------------- */

static cuda_plan plan_of(int number)
{
    const cuda_way way = { .in = number, .out = 1 };
    const cublasLtMatmulAlgo_t algo = { .data = { (uint64_t)number } };

    return cuda_plan_of(CUDA_PLAN_PRODUCT, &way, sizeof(way), &algo, sizeof(algo));
}

static const void *find(const cuda_plans *p, int number)
{
    const cuda_way way = { .in = number, .out = 1 };

    return cuda_plans_find(p, CUDA_PLAN_PRODUCT, &way, sizeof(way));
}

static void assert_has(const cuda_plans *p, int number)
{
    const cuda_plan plan = plan_of(number);

    assert_non_null(find(p, number));
    assert_memory_equal(find(p, number), plan.choice, sizeof(plan.choice));
}

/* Two processes write in turns.  The file has what both have found. */
static void two_workers_share_a_file(void **state)
{
    static cuda_plans a, b, c;
    dr_error err;
    (void)state;

    assert_int_equal(cuda_plans_open(&a, folder, "a GPU, and more", &err), DR_OK);
    assert_int_equal(cuda_plans_open(&b, folder, "a GPU, and more", &err), DR_OK);
    for (int i = 0; i < 20; i++) {
        const cuda_plan plan = plan_of(i);
        assert_int_equal(cuda_plans_add(i % 3 ? &a : &b, &plan, &err), DR_OK);
    }
    assert_int_equal(cuda_plans_open(&c, folder, "a GPU, and more", &err), DR_OK);
    assert_int_equal(c.count, 20);
    for (int i = 0; i < 20; i++)
        assert_has(&c, i);
    assert_int_equal(unlink(c.path), 0);
    assert_non_null(strstr(c.path, "/a_GPU__and_more.plans"));
    cuda_plans_close(&a);
    cuda_plans_close(&b);
    cuda_plans_close(&c);
}

static void a_full_table_forgets_the_oldest(void **state)
{
    static cuda_plans p;
    dr_error err;
    (void)state;

    assert_int_equal(cuda_plans_open(&p, NULL, "a GPU", &err), DR_OK);
    for (int i = 1; i <= DR_CUDA_PLANS_MAX + 1; i++) {
        const cuda_plan plan = plan_of(i);
        assert_int_equal(cuda_plans_add(&p, &plan, &err), DR_OK);
    }
    assert_int_equal(p.count, DR_CUDA_PLANS_MAX);
    assert_null(find(&p, 1));
    assert_has(&p, 2);
    assert_has(&p, DR_CUDA_PLANS_MAX + 1);
    cuda_plans_close(&p);
}

/* Asserts that nothing is left in the folder, not even a part of a file. */
static int leave(void **state)
{
    (void)state;
    unlink(file_path());
    if (rmdir(folder))
        print_error("%s: not empty\n", folder);
    return access(folder, F_OK) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_fastest_with_the_same_bits_is_taken, machine),
        cmocka_unit_test_setup(what_is_fast_does_not_show, machine),
        cmocka_unit_test_setup(a_row_is_the_same_alone, machine),
        cmocka_unit_test_setup(fast_asks_for_speed_alone, machine),
        cmocka_unit_test_setup(one_that_refuses_is_passed_over, machine),
        cmocka_unit_test_setup(an_order_shows_where_the_storage_is_coarse, machine),
        cmocka_unit_test_setup(an_order_shows_in_eight_bits, machine),
        cmocka_unit_test_setup(little_memory_is_enough, machine),
        cmocka_unit_test_setup(a_failure_while_measuring_is_told, machine),
        cmocka_unit_test_setup(the_next_start_need_not_measure, machine),
        cmocka_unit_test_setup(another_machine_has_another_file, machine),
        cmocka_unit_test_setup(a_plan_is_checked_before_use, machine),
        cmocka_unit_test_setup(a_damaged_file_is_told_and_written_anew, machine),
        cmocka_unit_test_setup(a_foreign_file_is_told_and_written_anew, machine),
        cmocka_unit_test_setup(what_is_no_file_is_let_alone, machine),
        cmocka_unit_test_setup(a_folder_that_can_not_be_written_is_told, machine),
        cmocka_unit_test_setup(a_folder_that_goes_is_told, machine),
        cmocka_unit_test_setup(two_workers_share_a_file, machine),
        cmocka_unit_test_setup(a_full_table_forgets_the_oldest, machine),
    };

    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    return cmocka_run_group_tests_name("plans of products", tests, NULL, leave);
}
