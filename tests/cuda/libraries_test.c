/* Tests that the real cuBLASLt, cuDNN and NVRTC have every function that ops/cuda names.  Needs the toolkit,
 * but no GPU. */
#include "ops/cuda/libraries.h"
#include "tests/support/temp_folder.h"

#include <dlfcn.h>

static temp_folder folder;

static int make_folder(void **state)
{
    (void)state;
    temp_open(&folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    temp_close(&folder);
    return 0;
}

#define COUNT(function) +1
#define ASSERT_THERE(function) assert_non_null(table.function);

static void every_function_of_cublaslt_is_there(void **state)
{
    cuda_blas table = { 0 };
    dr_error err;
    (void)state;

    if (cuda_blas_open(&table, NULL, &err))
        fail_msg("%s", err.text);
    CUDA_BLAS_FUNCTIONS(ASSERT_THERE)
    assert_int_equal(sizeof(table), (0 CUDA_BLAS_FUNCTIONS(COUNT)) * sizeof(void *));
    assert_int_equal(table.cublasLtGetVersion() / 10000, CUBLAS_VER_MAJOR);
    assert_string_equal(table.cublasLtGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED),
                        "the requested functionality is not supported");
}

#define ASSERT_TAKEN(call) assert_int_equal(call, CUBLAS_STATUS_SUCCESS)

/* Without a device the library cannot be asked for kernels.  But it understands the description of the
 * product. */
static void a_product_of_8_bits_can_be_described(void **state)
{
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t layout;
    const int8_t fast_sums = 0;
    cuda_blas blas = { 0 };
    dr_error err;
    (void)state;

    assert_int_equal(cuda_blas_open(&blas, NULL, &err), DR_OK);
    ASSERT_TAKEN(blas.cublasLtMatmulDescInit_internal((cublasLtMatmulDesc_t)&desc, sizeof(desc),
                                                      CUBLAS_COMPUTE_32F, CUDA_R_32F));
    ASSERT_TAKEN(blas.cublasLtMatmulDescSetAttribute((cublasLtMatmulDesc_t)&desc,
                                                     CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast_sums,
                                                     sizeof(fast_sums)));
    ASSERT_TAKEN(blas.cublasLtMatrixLayoutInit_internal((cublasLtMatrixLayout_t)&layout, sizeof(layout),
                                                        CUDA_R_8F_E4M3, 320, 320, 320));
}

static void every_function_of_cudnn_is_there(void **state)
{
    cuda_dnn table = { 0 };
    dr_error err;
    (void)state;

    if (cuda_dnn_open(&table, "/no/such/folder:", &err))
        fail_msg("%s", err.text);
    CUDA_DNN_FUNCTIONS(ASSERT_THERE)
    assert_int_equal(sizeof(table), (0 CUDA_DNN_FUNCTIONS(COUNT)) * sizeof(void *));
    assert_int_equal(table.cudnnGetVersion() / 10000, CUDNN_MAJOR);
}

/* Those who look for NVRTC by its name find it, together with the part that NVRTC itself needs. */
static void the_compiler_is_there(void **state)
{
    static const char *const names[] = { "libnvrtc.so.13", "libnvrtc-builtins.so.13.0" };
    dr_error err;
    (void)state;

    if (cuda_nvrtc_open(NULL, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++)
        assert_non_null(dlopen(names[i], RTLD_NOW | RTLD_NOLOAD));
}

/* A folder that the user names comes first.  An error there is reported, and not passed over. */
static void what_is_wrong_in_a_named_folder_is_told(void **state)
{
    char folders[PATH_MAX];
    cuda_blas blas;
    cuda_dnn dnn;
    dr_error err;
    Dl_info libm;
    (void)state;

    snprintf(folders, sizeof(folders), "/no/such/folder:%s", folder.path);
    temp_write(&folder, "libcublasLt.so.13", "not a library", 13);
    assert_int_equal(cuda_blas_open(&blas, folders, &err), DR_EFORMAT);
    assert_non_null(strstr(err.text, folder.path));
    assert_non_null(strstr(err.text, "libcublasLt.so.13"));

    void *other = dlopen("libm.so.6", RTLD_NOW);
    assert_non_null(other);
    assert_int_not_equal(dladdr(dlsym(other, "cos"), &libm), 0);
    assert_int_equal(symlink(libm.dli_fname, temp_path(&folder, "libcudnn.so.9")), 0);
    assert_int_equal(cuda_dnn_open(&dnn, folders, &err), DR_ENOTFOUND);
    assert_string_equal(err.text, "libcudnn.so.9: has no cudnnCreate");
    dlclose(other);

    temp_write(&folder, "libnvrtc.so.13", "not a library", 13);
    assert_int_equal(cuda_nvrtc_open(folders, &err), DR_EFORMAT);
    assert_non_null(strstr(err.text, "libnvrtc.so.13"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_of_cublaslt_is_there),
        cmocka_unit_test(a_product_of_8_bits_can_be_described),
        cmocka_unit_test(every_function_of_cudnn_is_there),
        cmocka_unit_test(the_compiler_is_there),
        cmocka_unit_test_setup_teardown(what_is_wrong_in_a_named_folder_is_told, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("cuda libraries", tests, NULL, NULL);
}
