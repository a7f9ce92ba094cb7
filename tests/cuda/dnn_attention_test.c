/* Asks the real cuDNN for the attention of Stable Diffusion 1.5 and 2.1, as ops/cuda/dnn_attention.c
 * describes it, for a GPU that this machine does not have (h200.h). cuDNN names kernels and compiles them.
 * Needs the toolkit, but no GPU. Tests that run the kernels on a GPU are in tests/gpu. */
#include "base/dtype.h"
#include "base/limits.h"
#include "ops/cuda/dnn_attention.h"
#include "tests/cuda/h200.h"

#include <math.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { ROWS = 16, WORKSPACE_MAX = 16 << 20 };

typedef struct shape {
    const char *name;
    int heads, dim, tokens;
} shape;

/* In each shape, a token holds queries, keys and values without gaps. */
static const shape shapes[] = {
    { "SD 1.5, 512 x 512, level 0", 8, 40, 4096 },   { "SD 1.5, 512 x 512, level 1", 8, 80, 1024 },
    { "SD 1.5, 512 x 512, level 2", 8, 160, 256 },   { "SD 1.5, 512 x 512, middle", 8, 160, 64 },
    { "SD 2.1, 768 x 768, level 0", 5, 64, 9216 },   { "SD 2.1, 768 x 768, level 1", 10, 64, 2304 },
    { "SD 2.1, 768 x 768, level 2", 20, 64, 576 },   { "SD 2.1, 768 x 768, middle", 20, 64, 144 },
    { "the VAE's middle, 512 x 512", 1, 512, 4096 },
};

static cuda_dnn_attention_way way_of(const shape *s, dr_dtype storage)
{
    return (cuda_dnn_attention_way){ .heads = s->heads,
                                     .dim = s->dim,
                                     .tokens = s->tokens,
                                     .ld = 3 * s->heads * s->dim,
                                     .storage = storage,
                                     .scale = 1 / sqrtf((float)s->dim) };
}

/* The machine code in a plan, as the library writes it down; free() it. */
static char *code_of(const cuda_dnn_plan *plan)
{
    static const char key[] = "\"cubin\":\"";
    const cudnnBackendDescriptor_t made = plan->descriptors.made[plan->descriptors.count - 1];
    int64_t length = 0, got = 0;
    char *text, *code, *end;

    check(dnn.cudnnBackendGetAttribute(made, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                       0, &length, NULL));
    text = calloc((size_t)length + 1, 1);
    assert_non_null(text);
    check(dnn.cudnnBackendGetAttribute(made, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                       length, &got, text));
    code = strstr(text, key);
    assert_non_null(code);
    code += strlen(key);
    end = strchr(code, '"');
    assert_non_null(end);
    assert_true(end - code > 10000);
    code = strndup(code, (size_t)(end - code));
    free(text);
    return code;
}

static char *compile(const cuda_dnn_attention_way *way, const cuda_dnn_choice *choice, int rows,
                     const char *what)
{
    cuda_dnn_plan plan;
    dr_error err;
    char *code;

    if (cuda_dnn_plan_make(&plan, &h200, &cuda_dnn_attention_operator, way, choice, rows, &err))
        fail_msg("%s, engine %d, %d rows: %s", what, (int)choice->engine, rows, err.text);
    assert_true(plan.workspace_bytes <= WORKSPACE_MAX);
    code = code_of(&plan);
    cuda_dnn_plan_free(&plan, &h200);
    return code;
}

static int ask(const shape *s, dr_dtype storage, cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX])
{
    const cuda_dnn_attention_way way = way_of(s, storage);
    dr_error err;
    int count;

    if (cuda_dnn_candidates(&h200, &cuda_dnn_attention_operator, &way, ROWS, WORKSPACE_MAX, choice, &count,
                            &err))
        fail_msg("%s: %s", s->name, err.text);
    return count;
}

/* For heads of up to 256 channels cuDNN offers both Hopper's and Ampere's kernels. */
static void every_shape_has_kernels(void **state)
{
    cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX];
    (void)state;

    for (size_t i = 0; i < COUNT(shapes); i++) {
        assert_true(ask(&shapes[i], DR_F16, choice) >= (shapes[i].dim <= 256 ? 2 : 1));
        assert_true(ask(&shapes[i], DR_BF16, choice) >= (shapes[i].dim <= 256 ? 2 : 1));
    }
}

/* The first shape of each head size asks for all candidates.  Later shapes of that size ask only for the
 * first one. */
static bool is_first_of_its_size(size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (shapes[j].dim == shapes[i].dim)
            return false;
    return true;
}

/* A candidate that was chosen for ROWS rows works for any number of rows, with the same machine code. */
static void code_does_not_depend_on_rows(void **state)
{
    static const int rows[] = { 1, 2, 7 };
    (void)state;

    for (size_t i = 0; i < COUNT(shapes); i++) {
        cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX];
        const dr_dtype storage = i % 2 ? DR_BF16 : DR_F16; /* both were asked for */
        const cuda_dnn_attention_way way = way_of(&shapes[i], storage);
        const int count = ask(&shapes[i], storage, choice);

        for (int j = 0; j < (is_first_of_its_size(i) ? count : 1); j++) {
            char *code = compile(&way, &choice[j], ROWS, shapes[i].name);
            char *other = compile(&way, &choice[j], rows[(i + (size_t)j) % COUNT(rows)], shapes[i].name);

            assert_string_equal(other, code);
            free(code);
            free(other);
        }
    }
}

/* The error contains the library's own words. */
static void what_is_wrong_is_told(void **state)
{
    cuda_dnn_attention_way way = way_of(&shapes[3], DR_F16);
    cuda_dnn_choice choice[DR_CUDA_CANDIDATES_MAX];
    cuda_dnn_plan plan;
    dr_error err;
    int count = ask(&shapes[3], DR_F16, choice);
    (void)state;

    assert_true(choice[0].knobs == 1 && choice[0].knob[0].type == CUDNN_KNOB_TYPE_KERNEL_CFG);
    choice[0].knob[0].value = 0;
    assert_int_not_equal(cuda_dnn_plan_make(&plan, &h200, &cuda_dnn_attention_operator, &way, &choice[0],
                                            ROWS, &err),
                         DR_OK);
    assert_memory_equal(err.text, "cuDNN, making a plan: CUDNN_STATUS_", 35);
    assert_null(strchr(err.text, '\n'));
    cuda_dnn_plan_free(&plan, &h200);
    way.dim = 12; /* heads would begin at addresses that cannot be loaded from */
    assert_int_not_equal(cuda_dnn_candidates(&h200, &cuda_dnn_attention_operator, &way, ROWS, WORKSPACE_MAX,
                                             choice, &count, &err),
                         DR_OK);
    assert_int_equal(err.status, DR_EUNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_has_kernels),
        cmocka_unit_test(code_does_not_depend_on_rows),
        cmocka_unit_test(what_is_wrong_is_told),
    };
    return cmocka_run_group_tests_name("attention, as cuDNN sees it", tests, open_library, close_library);
}
