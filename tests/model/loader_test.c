/* The loader gives layers to the device as the checkpoint has them.  It joins names, puts stacks side by
 * side, keeps the first error, and frees its staging buffer. */
#include "model/loader.h"

#include "ops/backend.h"
#include "tests/support/temp_folder.h"

/* --- a device that remembers what it was given --------------------------------------------- */

typedef struct remembered {
    char name[DR_TENSOR_NAME_MAX];
    int in, out;
    float weight[64], bias[16];
    bool has_bias;
} remembered;

typedef struct test_device {
    dr_device base;
    remembered last;
    int creations, allocations;
    bool fail;
} test_device;

static void remember(dr_device *device, const char *name, int in, int out, int taps, const float *weight,
                     const float *bias)
{
    test_device *d = (test_device *)device;

    d->creations++;
    d->last = (remembered){ .in = in, .out = out, .has_bias = bias != NULL };
    strcpy(d->last.name, name);
    assert_true(in * out * taps <= 64 && out <= 16);
    memcpy(d->last.weight, weight, (size_t)(in * out * taps) * sizeof(float));
    if (bias)
        memcpy(d->last.bias, bias, (size_t)out * sizeof(float));
}

static dr_status create_linear(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    if (((test_device *)device)->fail)
        return dr_fail(err, DR_EDEVICE, "%s: no", desc->name);
    remember(device, desc->name, desc->in, desc->out, 1, desc->weight, desc->bias);
    *out = calloc(1, sizeof(**out));
    (*out)->device = device;
    return DR_OK;
}

static void free_linear(dr_linear *linear)
{
    free(linear);
}

static dr_status create_conv(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    (void)err;
    assert_int_equal(desc->stride, 2);
    assert_int_equal(desc->padding, DR_PAD_RIGHT_BELOW);
    assert_int_equal(desc->map_pixels, 77);
    remember(device, desc->name, desc->in, desc->out, desc->kernel * desc->kernel, desc->weight, desc->bias);
    *out = calloc(1, sizeof(**out));
    (*out)->device = device;
    return DR_OK;
}

static void free_conv(dr_conv *conv)
{
    free(conv);
}

static dr_status allocate(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    if (((test_device *)device)->fail)
        return dr_fail(err, DR_EDEVICE, "no");
    ((test_device *)device)->allocations++;
    *out = malloc(bytes);
    return DR_OK;
}

static void release(dr_device *device, void *memory)
{
    ((test_device *)device)->allocations--;
    free(memory);
}

static dr_status upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err)
{
    (void)device, (void)err;
    memcpy(to, host, bytes);
    return DR_OK;
}

static const dr_backend BACKEND = {
    .linear_create = create_linear,
    .linear_free = free_linear,
    .conv_create = create_conv,
    .conv_free = free_conv,
    .alloc = allocate,
    .free = release,
    .upload = upload,
};

/* --- a file whose every value says where it comes from ---------------------------------------- */

typedef struct fixture {
    temp_folder folder;
    test_device device;
    dr_weights *weights;
    dr_loader_state state;
} fixture;

/* Values are 100 k, 100 k + 1, ... for the k-th tensor. */
static const struct {
    const char *name, *shape;
    int floats;
} TENSORS[] = {
    { "block.0.to_q.weight", "[2,3]", 6 },
    { "block.0.to_k.weight", "[2,3]", 6 },
    { "block.0.to_q.bias", "[2]", 2 },
    { "block.0.to_k.bias", "[2]", 2 },
    { "conv.weight", "[1,2,3,3]", 18 },
    { "conv.bias", "[1]", 1 },
    { "norm.weight", "[3]", 3 },
    { "norm.bias", "[3]", 3 },
    { "table", "[2,3]", 6 },
};
enum { TENSOR_COUNT = sizeof(TENSORS) / sizeof(TENSORS[0]) };

static int open_fixture(void **state)
{
    static unsigned char file[4096];
    static fixture f;
    char *header = (char *)file + 8;
    uint64_t used = 1, at = 0;
    dr_error err;

    memset(&f, 0, sizeof(f));
    header[0] = '{';
    for (int k = 0; k < TENSOR_COUNT; k++) {
        const size_t bytes = (size_t)TENSORS[k].floats * sizeof(float);
        used += (uint64_t)sprintf(header + used,
                                  "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                  k ? "," : "", TENSORS[k].name, TENSORS[k].shape, (size_t)at,
                                  (size_t)at + bytes);
        at += bytes;
    }
    header[used++] = '}';
    memcpy(file, &used, 8);
    at = 8 + used;
    for (int k = 0; k < TENSOR_COUNT; k++)
        for (int i = 0; i < TENSORS[k].floats; i++, at += sizeof(float))
            memcpy(file + at, &(float){ (float)(100 * k + i) }, sizeof(float));
    temp_open(&f.folder);
    assert_int_equal(dr_weights_open_file(&f.weights, temp_write(&f.folder, "m.safetensors", file, at), &err),
                     DR_OK);
    f.device.base.backend = &BACKEND;
    f.state = (dr_loader_state){ .device = &f.device.base, .weights = f.weights };
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;

    dr_loader_finish(&f->state);
    dr_weights_close(f->weights);
    temp_close(&f->folder);
    return f->device.allocations;
}

/* --- tests ------------------------------------------------------------------------------------ */

/* 2^62 bytes: this must not fail with DR_ENOMEM, which is retriable, because a retry can't help. */
static void a_config_that_lies_is_not_a_shortage_of_memory(void **state)
{
    enum { HUGE_SIDE = 1 << 30 };
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state), block = dr_loader_at(&root, "block.%d", 0);

    assert_null(dr_load_linear(&block, "to_q", HUGE_SIDE, HUGE_SIDE, 0));
    assert_int_equal(f->state.error.status, DR_EFORMAT);
    assert_false(f->state.error.retriable);
    assert_non_null(strstr(f->state.error.text, "'block.0.to_q.weight' has shape [2, 3]"));

    f->state.error.status = DR_OK;
    assert_null(dr_load_vector(&block, "to_q.weight", HUGE_SIDE, HUGE_SIDE));
    assert_int_equal(f->state.error.status, DR_EFORMAT);

    f->state.error.status = DR_OK;
    assert_null(
        dr_load_conv(&block, "no_such_layer",
                     &(dr_conv_shape){ .in = HUGE_SIDE, .out = HUGE_SIDE, .kernel = 1, .stride = 1 }));
    assert_int_equal(f->state.error.status, DR_ENOTFOUND);
    assert_int_equal(f->device.creations, 0);
    assert_null(f->state.staging);
}

static void stacks_stand_side_by_side(void **state)
{
    static const char *const names[] = { "to_k", "to_q" };
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state), block = dr_loader_at(&root, "block.%d", 0);
    dr_linear *linear = dr_load_linear_stack(&block, names, 2, 3, 2, DR_BIAS);
    const remembered *r = &f->device.last;

    assert_non_null(linear);
    assert_string_equal(r->name, "block.0.to_k");
    assert_true(r->in == 3 && r->out == 4 && r->has_bias);
    for (int i = 0; i < 6; i++)
        assert_true(r->weight[i] == (float)(100 + i) && r->weight[6 + i] == (float)i);
    for (int i = 0; i < 2; i++)
        assert_true(r->bias[i] == (float)(300 + i) && r->bias[2 + i] == (float)(200 + i));
    dr_linear_free(linear);

    linear = dr_load_linear(&block, "to_q", 3, 2, 0);
    assert_non_null(linear);
    assert_true(r->out == 2 && !r->has_bias && r->weight[5] == 5);
    dr_linear_free(linear);
}

static void convolutions_keep_their_shape(void **state)
{
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state);
    const dr_conv_shape shape = {
        .in = 2,
        .out = 1,
        .kernel = 3,
        .stride = 2,
        .padding = DR_PAD_RIGHT_BELOW,
        .map_pixels = 77,
        .bias = true,
    };
    dr_conv *conv = dr_load_conv(&root, "conv", &shape);

    assert_non_null(conv);
    assert_string_equal(f->device.last.name, "conv");
    assert_true(f->device.last.weight[17] == 417 && f->device.last.bias[0] == 500);
    dr_conv_free(conv);
}

static void vectors_go_to_the_device(void **state)
{
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state);
    dr_norm norm = dr_load_norm(&root, "norm", 3, 1, 1e-6f);
    float *table = dr_load_vector(&root, "table", 2, 3), *flat = dr_load_vector(&root, "norm.bias", 3, 0);

    assert_int_equal(f->device.allocations, 4);
    assert_true(norm.gamma[2] == 602 && norm.beta[0] == 700 && norm.c == 3 && norm.groups == 1 &&
                norm.eps == 1e-6f);
    assert_true(table[5] == 805 && flat[1] == 701);
    dr_norm_free(&f->device.base, &norm);
    assert_null(norm.gamma);
    dr_device_free(&f->device.base, table);
    dr_device_free(&f->device.base, flat);
}

static void the_first_error_sticks(void **state)
{
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state), block = dr_loader_at(&root, "block.0");

    assert_null(dr_load_linear(&block, "to_v", 3, 2, 0));
    assert_int_equal(f->state.error.status, DR_ENOTFOUND);
    assert_non_null(strstr(f->state.error.text, "'block.0.to_v.weight'"));
    assert_non_null(strstr(f->state.error.text, "m.safetensors"));
    assert_null(dr_load_linear(&block, "to_q", 2, 2, DR_BIAS)); /* another shape: would be DR_EFORMAT */
    assert_null(dr_load_norm(&root, "norm", 3, 1, 1e-6f).gamma);
    assert_null(dr_load_vector(&root, "table", 2, 3));
    assert_int_equal(f->state.error.status, DR_ENOTFOUND);
    assert_int_equal(f->device.creations, 0);
}

static void a_failing_device_is_reported(void **state)
{
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state);

    f->device.fail = true;
    assert_null(dr_load_linear(&root, "block.0.to_q", 3, 2, DR_BIAS));
    assert_int_equal(f->state.error.status, DR_EDEVICE);
    assert_true(f->state.error.retriable);
    f->state.error.status = DR_OK;
    assert_null(dr_load_vector(&root, "table", 2, 3));
    assert_int_equal(f->state.error.status, DR_EDEVICE);
    assert_int_equal(f->device.allocations, 0);
}

static void presence_is_a_question_to_the_file(void **state)
{
    fixture *f = *state;
    const dr_loader root = dr_loader_root(&f->state), block = dr_loader_at(&root, "block.%d", 0);
    dr_loader_state random = { .device = &f->device.base };
    dr_loader random_root;
    dr_weights *weights;

    assert_true(dr_loader_has(&block, "to_q.weight", false));
    assert_false(dr_loader_has(&block, "to_v.weight", true));
    assert_int_equal(dr_weights_open_random(&weights, 1, &random.error), DR_OK);
    random.weights = weights;
    random_root = dr_loader_root(&random);
    assert_true(dr_loader_has(&random_root, "anything", true));
    assert_false(dr_loader_has(&random_root, "anything", false));
    dr_weights_close(weights);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(stacks_stand_side_by_side),
        WITH_FIXTURE(convolutions_keep_their_shape),
        WITH_FIXTURE(vectors_go_to_the_device),
        WITH_FIXTURE(the_first_error_sticks),
        WITH_FIXTURE(a_failing_device_is_reported),
        WITH_FIXTURE(presence_is_a_question_to_the_file),
        WITH_FIXTURE(a_config_that_lies_is_not_a_shortage_of_memory),
    };
    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
