#include "model/fingerprint.h"

#include "base/input_file.h"
#include "base/limits.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum {
    SAMPLE_BYTES = 4096, /* from each end of a tensor: a disk reads as much at once */
    RANDOM_FLOATS = 16,  /* of random weights: enough to tell seeds apart */
};

/* A file that is missing counts like an empty one.  Not every model has all of these. */
static const char *const FILES[] = {
    "model_index.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
    "low_res_scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
};

/* A file that is missing does not count.  The first versions of Darkroom did not read these files, and the
 * fingerprint of a model without them is still the same. */
static const char *const LATER_FILES[] = {
    "tokenizer/added_tokens.json",
    "tokenizer/tokenizer.json",
};

/* Add a piece, after its length, so that no two lists of pieces make the same stream. */
static void add(EVP_MD_CTX *sha, const void *bytes, size_t count)
{
    const uint64_t length = count;

    EVP_DigestUpdate(sha, &length, sizeof(length));
    EVP_DigestUpdate(sha, bytes, count);
}

/* needed: a missing file counts like an empty one; else it does not count. */
static dr_status add_file(EVP_MD_CTX *sha, const char *folder, const char *name, bool needed, dr_error *err)
{
    char path[PATH_MAX];
    dr_input_content file;
    dr_error failure;
    dr_status rc;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return dr_fail(err, DR_EINVAL, "%.200s...: the path is too long", folder);
    rc = dr_input_content_read(&file, path, DR_JSON_BYTES_MAX, &failure);
    if (rc && rc != DR_ENOTFOUND)
        return dr_fail(err, rc, "%s", failure.text);
    if (rc && !needed)
        return DR_OK;
    add(sha, name, strlen(name));
    add(sha, file.data, file.bytes);
    dr_input_content_free(&file);
    return DR_OK;
}

static dr_status add_tensor(EVP_MD_CTX *sha, const dr_weights *w, const char *name, dr_error *err)
{
    unsigned char first[SAMPLE_BYTES], last[SAMPLE_BYTES];
    dr_weight_info info;
    size_t sample;
    dr_status rc;

    dr_assert(dr_weights_find(w, name, &info));
    sample = info.bytes < SAMPLE_BYTES ? info.bytes : SAMPLE_BYTES;
    rc = dr_weights_read_bytes(w, name, 0, first, sample, err);
    if (!rc)
        rc = dr_weights_read_bytes(w, name, info.bytes - sample, last, sample, err);
    if (rc)
        return rc;
    add(sha, name, strlen(name));
    add(sha, info.dtype_name, strlen(info.dtype_name));
    add(sha, info.shape, (size_t)info.dims * sizeof(info.shape[0]));
    add(sha, first, sample);
    add(sha, last, sample);
    return DR_OK;
}

static dr_status add_weights(EVP_MD_CTX *sha, const char *part, const dr_weights *w, dr_error *err)
{
    float values[RANDOM_FLOATS];
    dr_status rc = DR_OK;

    add(sha, part, strlen(part));
    if (dr_weights_are_random(w)) {
        rc = dr_weights_read(w, part, (int64_t[]){ RANDOM_FLOATS }, 1, values, err);
        add(sha, values, sizeof(values));
        return rc;
    }
    for (size_t i = 0; !rc && i < dr_weights_count(w); i++)
        rc = add_tensor(sha, w, dr_weights_name(w, i), err);
    return rc;
}

static void finish(EVP_MD_CTX *sha, char hex[DR_FINGERPRINT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    EVP_DigestFinal_ex(sha, digest, &bytes);
    dr_assert(2 * bytes + 1 == DR_FINGERPRINT_SIZE);
    for (unsigned i = 0; i < bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

dr_status dr_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, const dr_weights *text_encoder,
                         const dr_weights *unet, const dr_weights *vae, dr_error *err)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    dr_status rc = DR_OK;

    hex[0] = '\0';
    if (!sha || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL)) {
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory for SHA-256", folder);
        goto out;
    }
    for (size_t i = 0; !rc && i < sizeof(FILES) / sizeof(FILES[0]); i++)
        rc = add_file(sha, folder, FILES[i], true, err);
    for (size_t i = 0; !rc && i < sizeof(LATER_FILES) / sizeof(LATER_FILES[0]); i++)
        rc = add_file(sha, folder, LATER_FILES[i], false, err);
    if (!rc)
        rc = add_weights(sha, "text_encoder", text_encoder, err);
    if (!rc)
        rc = add_weights(sha, "unet", unet, err);
    if (!rc)
        rc = add_weights(sha, "vae", vae, err);
    if (!rc)
        finish(sha, hex);
out:
    EVP_MD_CTX_free(sha);
    return rc;
}
