#include "model/weights.h"

#include "base/half.h"
#include "base/limits.h"
#include "model/safetensors.h"
#include "model/weights_index.h"
#include "model/weights_random.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_HALVES = 32768 }; /* 64 KiB of a file at once: reading more at once is no faster */

struct dr_weights {
    char *path; /* the file, or the index; for messages */
    bool random;
    uint64_t seed;
    size_t shards;
    dr_safetensors *shard;
    size_t count;
    const dr_safetensors_entry **by_name;
};

/* The names that diffusers and transformers give a part's weights; the first that exists is used. */
static const struct candidate {
    const char *name;
    bool is_index;
} CANDIDATES[] = {
    { "diffusion_pytorch_model.safetensors", false },
    { "model.safetensors", false },
    { "diffusion_pytorch_model.safetensors.index.json", true },
    { "model.safetensors.index.json", true },
    { "diffusion_pytorch_model.fp16.safetensors", false },
    { "model.fp16.safetensors", false },
    { "diffusion_pytorch_model.safetensors.index.fp16.json", true },
    { "model.safetensors.index.fp16.json", true },
    { "diffusion_pytorch_model.safetensors.fp16.index.json", true }, /* diffusers before 0.30 */
};

/* --- opening ------------------------------------------------------------------------------ */

static dr_status create(dr_weights **out, const char *path, size_t shards, dr_error *err)
{
    dr_weights *w = calloc(1, sizeof(*w));

    *out = w;
    if (w)
        w->path = strdup(path);
    if (w && shards)
        w->shard = calloc(shards, sizeof(w->shard[0]));
    if (!w || !w->path || (shards && !w->shard))
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the handle", path);
    return DR_OK;
}

static int by_name(const void *a, const void *b)
{
    const dr_safetensors_entry *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Make one sorted table of the tensors of all shards. */
static dr_status index_names(dr_weights *w, dr_error *err)
{
    size_t total = 0;

    for (size_t i = 0; i < w->shards; i++)
        total += w->shard[i].count;
    w->by_name = calloc(total + 1, sizeof(w->by_name[0]));
    if (!w->by_name)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for %zu tensors", w->path, total);
    for (size_t i = 0; i < w->shards; i++)
        for (size_t j = 0; j < w->shard[i].count; j++)
            w->by_name[w->count++] = &w->shard[i].entries[j];
    qsort(w->by_name, w->count, sizeof(w->by_name[0]), by_name);
    for (size_t i = 1; i < w->count; i++)
        if (!strcmp(w->by_name[i - 1]->name, w->by_name[i]->name))
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s' is also in %s", w->by_name[i - 1]->file->path,
                           w->by_name[i]->name, w->by_name[i]->file->path);
    return DR_OK;
}

dr_status dr_weights_open_file(dr_weights **out, const char *path, dr_error *err)
{
    dr_weights *w;
    dr_status rc;

    *out = NULL;
    rc = create(&w, path, 1, err);
    if (!rc)
        rc = dr_safetensors_open(&w->shard[0], path, err);
    if (!rc) {
        w->shards = 1;
        rc = index_names(w, err);
    }
    if (rc)
        dr_weights_close(w);
    else
        *out = w;
    return rc;
}

static const dr_safetensors_entry *find(const dr_weights *w, const char *name)
{
    const dr_safetensors_entry key = { .name = name }, *at = &key;
    const dr_safetensors_entry **found = NULL;

    if (w->count)
        found = bsearch(&at, w->by_name, w->count, sizeof(w->by_name[0]), by_name);
    return found ? *found : NULL;
}

/* Check that each tensor of the index is in the shard that it names. */
static dr_status check_index(const dr_weights *w, const dr_weights_index *index, dr_error *err)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(index->weight_map, tensor, value)
    {
        const dr_safetensors_entry *e = find(w, tensor);
        const char *shard = json_string_value(value);
        if (!e || strcmp(strrchr(e->file->path, '/') + 1, shard))
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s' is not in '%s'", w->path, tensor, shard);
    }
    return DR_OK;
}

static dr_status open_shards(dr_weights *w, const char *folder, const dr_weights_index *index, dr_error *err)
{
    for (size_t i = 0; i < index->count; i++) {
        char path[PATH_MAX];
        dr_status rc;
        if (snprintf(path, sizeof(path), "%s/%s", folder, index->shards[i]) >= (int)sizeof(path))
            return dr_fail(err, DR_EINVAL, "%s: the path of shard '%s' is too long", w->path,
                           index->shards[i]);
        rc = dr_safetensors_open(&w->shard[i], path, err);
        if (rc)
            return rc;
        w->shards++;
    }
    return DR_OK;
}

static dr_status open_index(dr_weights **out, const char *folder, const char *path, dr_error *err)
{
    dr_weights_index index;
    dr_weights *w = NULL;
    dr_status rc;

    *out = NULL;
    rc = dr_weights_index_read(&index, path, err);
    if (rc)
        return rc;
    rc = create(&w, path, index.count, err);
    if (!rc)
        rc = open_shards(w, folder, &index, err);
    if (!rc)
        rc = index_names(w, err);
    if (!rc)
        rc = check_index(w, &index, err);
    if (rc)
        dr_weights_close(w);
    else
        *out = w;
    dr_weights_index_free(&index);
    return rc;
}

/* The folder has no weights that Darkroom reads.  If it has weights of another kind, say so. */
static dr_status fail_without_weights(const char *folder, dr_error *err)
{
    static const char *const OTHERS[] = {
        ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".gguf"
    };
    dr_status rc = DR_OK;
    DIR *dir = opendir(folder);

    if (!dir)
        return dr_fail_errno(err, DR_ENOTFOUND, "%s", folder);
    for (const struct dirent *entry; !rc && (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        for (size_t i = 0; dot && i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++)
            if (!strcmp(dot, OTHERS[i]))
                rc = dr_fail(err, DR_EUNSUPPORTED, "%s: '%s' can't be read: weights must be safetensors",
                             folder, entry->d_name);
    }
    closedir(dir);
    return rc ? rc
              : dr_fail(err, DR_ENOTFOUND, "%s: no weights: neither %s nor %s", folder, CANDIDATES[0].name,
                        CANDIDATES[1].name);
}

dr_status dr_weights_open(dr_weights **out, const char *folder, dr_error *err)
{
    char path[PATH_MAX];

    *out = NULL;
    for (size_t i = 0; i < sizeof(CANDIDATES) / sizeof(CANDIDATES[0]); i++) {
        const struct candidate *c = &CANDIDATES[i];

        if (snprintf(path, sizeof(path), "%s/%s", folder, c->name) < (int)sizeof(path) && !access(path, F_OK))
            return c->is_index ? open_index(out, folder, path, err) : dr_weights_open_file(out, path, err);
    }
    return fail_without_weights(folder, err);
}

dr_status dr_weights_open_random(dr_weights **out, uint64_t seed, dr_error *err)
{
    dr_weights *w;
    dr_status rc;

    *out = NULL;
    rc = create(&w, "random weights", 0, err);
    if (rc) {
        dr_weights_close(w);
        return rc;
    }
    w->random = true;
    w->seed = seed;
    *out = w;
    return DR_OK;
}

bool dr_weights_are_random(const dr_weights *w)
{
    return w->random;
}

void dr_weights_close(dr_weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->shards; i++)
        dr_safetensors_close(&w->shard[i]);
    free(w->by_name);
    free(w->shard);
    free(w->path);
    free(w);
}

/* --- reading ------------------------------------------------------------------------------ */

bool dr_weights_find(const dr_weights *w, const char *name, dr_weight_info *out)
{
    const dr_safetensors_entry *e = find(w, name);

    if (e)
        *out = e->info;
    return e != NULL;
}

static int dims_without_trailing_ones(const int64_t *shape, int dims)
{
    while (dims > 0 && shape[dims - 1] == 1)
        dims--;
    return dims;
}

static bool same_shape(const int64_t *a, int a_dims, const int64_t *b, int b_dims)
{
    a_dims = dims_without_trailing_ones(a, a_dims);
    b_dims = dims_without_trailing_ones(b, b_dims);
    if (a_dims != b_dims)
        return false;
    for (int i = 0; i < a_dims; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* "[320, 4, 3, 3]" */
typedef struct shape_text {
    char text[DR_WEIGHT_DIMS_MAX * 24];
} shape_text;

static shape_text describe(const int64_t *shape, int dims)
{
    shape_text t = { "[" };
    size_t used = 1;

    for (int i = 0; i < dims; i++)
        used += (size_t)snprintf(t.text + used, sizeof(t.text) - used, "%s%lld", i ? ", " : "",
                                 (long long)shape[i]);
    snprintf(t.text + used, sizeof(t.text) - used, "]");
    return t;
}

/* Read values of 16 bits and convert them, a piece at a time. */
static dr_status read_halves(const dr_safetensors_entry *e, float *to, size_t count, dr_error *err)
{
    uint16_t piece[PIECE_HALVES];

    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < PIECE_HALVES ? count - done : PIECE_HALVES;
        dr_status rc = dr_input_file_read(e->file, e->info.offset + done * sizeof(piece[0]), piece,
                                          n * sizeof(piece[0]), err);
        if (rc)
            return rc;
        if (e->info.dtype == DR_F16)
            dr_floats_from_f16(to + done, piece, n);
        else
            dr_floats_from_bf16(to + done, piece, n);
    }
    return DR_OK;
}

static dr_status read_floats(const dr_safetensors_entry *e, float *to, size_t count, dr_error *err)
{
    switch (e->info.dtype) {
    case DR_F32:
        return dr_input_file_read(e->file, e->info.offset, to, count * sizeof(*to), err);
    case DR_F16:
    case DR_BF16:
        return read_halves(e, to, count, err);
    default:
        return dr_fail(err, DR_EUNSUPPORTED, "%s: tensor '%s' is %s; weights must be F32, F16 or BF16",
                       e->file->path, e->name, e->info.dtype_name);
    }
}

/* Find the tensor and check its shape.  *out is NULL for random weights, which have every tensor. */
static dr_status find_checked(const dr_safetensors_entry **out, const dr_weights *w, const char *name,
                              const int64_t *shape, int dims, dr_error *err)
{
    const dr_safetensors_entry *e = *out = NULL;

    if (w->random)
        return DR_OK;
    e = find(w, name);
    if (!e)
        return dr_fail(err, DR_ENOTFOUND, "%s: no tensor '%s'; the config asks for one of shape %s", w->path,
                       name, describe(shape, dims).text);
    if (!same_shape(e->info.shape, e->info.dims, shape, dims))
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s' has shape %s; the config asks for %s", e->file->path,
                       name, describe(e->info.shape, e->info.dims).text, describe(shape, dims).text);
    *out = e;
    return DR_OK;
}

dr_status dr_weights_check(const dr_weights *w, const char *name, const int64_t *shape, int dims,
                           dr_error *err)
{
    const dr_safetensors_entry *e;

    return find_checked(&e, w, name, shape, dims, err);
}

dr_status dr_weights_read(const dr_weights *w, const char *name, const int64_t *shape, int dims, float *to,
                          dr_error *err)
{
    const dr_safetensors_entry *e;
    size_t count = 1;
    dr_status rc;

    dr_assert(dims >= 0 && dims <= DR_WEIGHT_DIMS_MAX);
    for (int i = 0; i < dims; i++) {
        dr_assert(shape[i] > 0);
        dr_assert(!__builtin_mul_overflow(count, (size_t)shape[i], &count));
    }
    rc = find_checked(&e, w, name, shape, dims, err);
    if (rc)
        return rc;
    if (e)
        return read_floats(e, to, count, err);
    dr_random_tensor(to, w->seed, name, shape, dims);
    return DR_OK;
}

dr_status dr_weights_read_bytes(const dr_weights *w, const char *name, size_t from, void *to, size_t bytes,
                                dr_error *err)
{
    const dr_safetensors_entry *e = find(w, name);

    dr_assert(e && from <= e->info.bytes && bytes <= e->info.bytes - from);
    return dr_input_file_read(e->file, e->info.offset + from, to, bytes, err);
}

dr_status dr_weights_check_unchanged(const dr_weights *w, dr_error *err)
{
    dr_status rc = DR_OK;

    for (size_t i = 0; !rc && i < w->shards; i++)
        rc = dr_input_file_check_unchanged(&w->shard[i].file, err);
    return rc;
}

size_t dr_weights_count(const dr_weights *w)
{
    return w->count;
}

const char *dr_weights_name(const dr_weights *w, size_t i)
{
    dr_assert(i < w->count);
    return w->by_name[i]->name;
}
