#include "ops/cuda/libraries.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_OF(number) #number
#define SONAME(library, major) library ".so." TEXT_OF(major)

typedef struct function {
    const char *name;
    size_t offset; /* where its pointer lies in the table */
} function;

#define BLAS_ROW(name) { #name, offsetof(cuda_blas, name) },
#define DNN_ROW(name) { #name, offsetof(cuda_dnn, name) },

static const function blas_functions[] = { CUDA_BLAS_FUNCTIONS(BLAS_ROW) };
static const function dnn_functions[] = { CUDA_DNN_FUNCTIONS(DNN_ROW) };

/* *out is the library from the first of these folders that has it.  NULL: no folder has it.  If the
 * library is there but does not load, that is an error: the loader's message says more than a search that
 * goes on. */
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

static dr_status find_library(void **out, const char *soname, const char *folders, dr_error *err)
{
    dr_status rc = open_in(out, folders, soname, err);

    if (!rc && !*out)
        *out = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!rc && !*out)
        rc = open_in(out, DR_CUDA_LIBS, soname, err);
    if (!rc && !*out)
        rc = dr_fail(err, DR_ENOTFOUND, "%s is not there: looked in %s, as the loader does, and in %s",
                     soname, folders && *folders ? folders : "cuda_libs (not set)", DR_CUDA_LIBS);
    return rc;
}

static dr_status open_library(void *table, const function *functions, size_t count, const char *soname,
                              const char *folders, dr_error *err)
{
    void *library;
    const dr_status rc = find_library(&library, soname, folders, err);

    if (rc)
        return rc;
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

/* NVRTC opens its builtins by a name with the minor version, and does not look in its own folder.  If the
 * builtins are not beside NVRTC, the loader's own path may have them. */
static void open_builtins(const char *folder)
{
    char pattern[PATH_MAX];
    glob_t found;

    if (snprintf(pattern, sizeof(pattern), "%s/libnvrtc-builtins.so.*", folder) >= (int)sizeof(pattern))
        return;
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; i < found.gl_pathc; i++)
            dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
}

dr_status cuda_nvrtc_open(const char *folders, dr_error *err)
{
    char folder[PATH_MAX];
    void *library;
    const dr_status rc = find_library(&library, SONAME("libnvrtc", CUBLAS_VER_MAJOR), folders, err);

    if (!rc && !dlinfo(library, RTLD_DI_ORIGIN, folder))
        open_builtins(folder);
    return rc;
}
