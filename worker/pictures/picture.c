#include "worker/pictures/picture.h"

#include "worker/pictures/jpeg_text.h"
#include "worker/pictures/picture_text.h"
#include "worker/pictures/png_encode.h"
#include "worker/pictures/png_text.h"
#include "worker/pictures/webp_text.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

enum { WEBP_EFFORT = 2 /* of 6: half the time of 4, the library's own, for 6% more bytes */ };

static dr_status fail_vips(dr_error *err, dr_status status, const char *what)
{
    char *text = vips_error_buffer_copy(); /* and empties it */

    dr_fail(err, status, "%s: libvips: %s", what, text);
    g_free(text);
    return status;
}

dr_status dr_pictures_start(dr_error *err)
{
    if (VIPS_INIT("darkroom"))
        return fail_vips(err, DR_EUNSUPPORTED, "pictures");
    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignLoadPng", FALSE);
    vips_operation_block_set("VipsForeignLoadJpeg", FALSE);
    vips_operation_block_set("VipsForeignLoadWebp", FALSE);
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    return DR_OK;
}

void dr_pictures_stop(void)
{
    vips_shutdown();
}

void dr_pictures_thread_done(void)
{
    vips_thread_shutdown();
}

void dr_sha256_hex(char hex[65], const void *bytes, size_t size)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256(bytes, size, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* --- what is said in the file ------------------------------------------------------------- */

typedef struct texts {
    char *parameters, *json, *xmp; /* owned */
} texts;

static void free_texts(texts *t)
{
    free(t->parameters);
    free(t->json);
    free(t->xmp);
}

static bool make_texts(texts *t, const dr_job *job, int image, const char *model_fingerprint)
{
    t->parameters = dr_picture_parameters(job, image, model_fingerprint);
    t->json = dr_picture_json(job, image, model_fingerprint);
    t->xmp = t->json ? dr_picture_xmp(t->json) : NULL;
    return t->parameters && t->json && t->xmp;
}

/* --- encoding -------------------------------------------------------------------------------- */

static int save(VipsImage *image, const dr_job *job, void **bytes, size_t *size)
{
    if (job->format == DR_JPEG)
        return vips_jpegsave_buffer(image, bytes, size, "Q", job->quality, "optimize_coding", TRUE, "strip",
                                    TRUE, NULL);
    dr_assert(job->format == DR_WEBP);
    return vips_webpsave_buffer(image, bytes, size, "Q", job->quality, "effort", WEBP_EFFORT, "strip", TRUE,
                                NULL);
}

/* *bytes is to be freed with g_free(), also after a failure. */
static dr_status encode_with_vips(void **bytes, size_t *size, const dr_job *job, const uint8_t *rgb,
                                  dr_error *err)
{
    const size_t rgb_bytes = (size_t)job->width * (size_t)job->height * 3;
    VipsImage *pixels =
        vips_image_new_from_memory(rgb, rgb_bytes, job->width, job->height, 3, VIPS_FORMAT_UCHAR);
    VipsImage *tagged = NULL;
    dr_status rc = DR_OK;

    if (!pixels || vips_copy(pixels, &tagged, "interpretation", VIPS_INTERPRETATION_sRGB, NULL) ||
        save(tagged, job, bytes, size))
        rc = fail_vips(err, DR_ENOMEM, "encoding");
    if (tagged)
        g_object_unref(tagged);
    if (pixels)
        g_object_unref(pixels);
    return rc;
}

/* The file without texts, then with them. */
static dr_status encode(dr_picture *out, const dr_job *job, const texts *t, const uint8_t *rgb, dr_error *err)
{
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc;

    if (job->format == DR_PNG) {
        rc = dr_png_encode(&bytes, &size, rgb, job->width, job->height, err);
        if (!rc)
            rc = dr_png_with_texts(&out->bytes, &out->size, bytes, size, t->parameters, t->json, err);
        free(bytes);
        return rc;
    }
    rc = encode_with_vips(&bytes, &size, job, rgb, err);
    if (!rc && job->format == DR_JPEG)
        rc = dr_jpeg_with_texts(&out->bytes, &out->size, bytes, size, t->parameters, t->xmp, err);
    else if (!rc)
        rc = dr_webp_with_texts(&out->bytes, &out->size, bytes, size, job->width, job->height, t->parameters,
                                t->xmp, err);
    g_free(bytes);
    return rc;
}

dr_status dr_picture_encode(dr_picture *out, const dr_job *job, int image, const char *model_fingerprint,
                            const uint8_t *rgb, dr_error *err)
{
    texts t = { 0 };
    dr_status rc;

    *out = (dr_picture){
        .format = job->format,
        .seed = dr_job_image_seed(job, image),
        .width = job->width,
        .height = job->height,
    };
    rc = make_texts(&t, job, image, model_fingerprint)
             ? encode(out, job, &t, rgb, err)
             : dr_fail(err, DR_ENOMEM, "no memory for the picture's texts");
    if (!rc)
        dr_sha256_hex(out->sha256, out->bytes, out->size);
    free_texts(&t);
    return rc;
}
