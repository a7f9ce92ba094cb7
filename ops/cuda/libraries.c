#include "ops/cuda/libraries.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_OF(number) #number
#define SONAME(library, major) library ".so." TEXT_OF(major)

typedef struct function {
    const char *name;
    size_t offset; /* of its pointer in the table */
} function;

#define BLAS_ROW(name) { #name, offsetof(cuda_blas, name) },
#define DNN_ROW(name) { #name, offsetof(cuda_dnn, name) },

static const function blas_functions[] = { CUDA_BLAS_FUNCTIONS(BLAS_ROW) };
static const function dnn_functions[] = { CUDA_DNN_FUNCTIONS(DNN_ROW) };

/* *out is the library in the first of these folders that has it, or NULL: none has.  One that is there and does
 * not load is an error: what the loader says of it is worth more than a search that goes on. */
static dr_status open_in(void **out, const char *folders, const char *soname, dr_error *err)
{
    *out = NULL;
    while (folders && *folders) {
        const size_t length = strcspn(folders, ":");
        char path[PATH_MAX];
        const int written = snprintf(path, sizeof(path), "%.*s/%s", (int)length, folders, soname);
        if (length > 0 && written < (int)sizeof(path) && access(path, F_OK) == 0) {
            *out = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            return *out ? DR_OK : dr_fail(err, DR_EFORMAT, "%s", dlerror());
        }
        folders += length + (folders[length] == ':');
    }
    return DR_OK;
}

static dr_status open_library(void *table, const function *functions, size_t count, const char *soname,
                              const char *folders, dr_error *err)
{
    void *library;
    dr_status rc = open_in(&library, folders, soname, err);

    if (!rc && !library)
        library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!rc && !library)
        rc = open_in(&library, DR_CUDA_LIBS, soname, err);
    if (rc)
        return rc;
    if (!library)
        return dr_fail(err, DR_ENOTFOUND, "%s is not there: looked in %s, as the loader does, and in %s",
                       soname, folders && *folders ? folders : "cuda_libs (not set)", DR_CUDA_LIBS);
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(library, functions[i].name);
        if (!address)
            return dr_fail(err, DR_ENOTFOUND, "%s: has no %s", soname, functions[i].name);
        memcpy((char *)table + functions[i].offset, &address, sizeof(address));
    }
    return DR_OK;
}

dr_status cuda_blas_open(cuda_blas *blas, const char *folders, dr_error *err)
{
    return open_library(blas, blas_functions, sizeof(blas_functions) / sizeof(blas_functions[0]),
                        SONAME("libcublasLt", CUBLAS_VER_MAJOR), folders, err);
}

dr_status cuda_dnn_open(cuda_dnn *dnn, const char *folders, dr_error *err)
{
    return open_library(dnn, dnn_functions, sizeof(dnn_functions) / sizeof(dnn_functions[0]),
                        SONAME("libcudnn", CUDNN_MAJOR), folders, err);
}
