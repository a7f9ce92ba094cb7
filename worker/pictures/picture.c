/* picture.c - the way from pixels to a file, step by step:
 *
 *     1. dr_picture_texts_make()   what the file says of itself       picture_text.c
 *     2. pixels to a file          dr_png_encode()                    png_encode.c
 *                                  dr_vips_encode(): JPEG, WebP       vips_encode.c
 *     3. texts into the file       dr_png_with_texts()                png_text.c
 *                                  dr_jpeg_with_texts()               jpeg_text.c, exif.c
 *                                  dr_webp_with_texts()               webp_text.c, exif.c
 *     4. its SHA-256
 *
 * The bytes stay in memory: worker/render writes them to disk, worker/delivery sends them. */
#include "worker/pictures/picture.h"

#include "worker/jobs/job_fields.h"
#include "worker/pictures/jpeg_text.h"
#include "worker/pictures/picture_text.h"
#include "worker/pictures/png_encode.h"
#include "worker/pictures/png_text.h"
#include "worker/pictures/vips_encode.h"
#include "worker/pictures/webp_text.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

void dr_sha256_hex(char hex[65], const void *bytes, size_t size)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256(bytes, size, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static dr_status encode_png(dr_rendition *out, const dr_job *job, const dr_picture_texts *texts,
                            const uint8_t *rgb, dr_error *err)
{
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc = dr_png_encode(&bytes, &size, rgb, job->width, job->height, err);

    if (!rc)
        rc = dr_png_with_texts(&out->bytes, &out->size, bytes, size, texts, err);
    free(bytes);
    return rc;
}

static dr_status encode_jpeg(dr_rendition *out, const dr_job *job, const dr_picture_texts *texts,
                             const uint8_t *rgb, dr_error *err)
{
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc = dr_vips_encode(&bytes, &size, job, rgb, err);

    if (!rc)
        rc = dr_jpeg_with_texts(&out->bytes, &out->size, bytes, size, texts, err);
    dr_vips_free(bytes);
    return rc;
}

static dr_status encode_webp(dr_rendition *out, const dr_job *job, const dr_picture_texts *texts,
                             const uint8_t *rgb, dr_error *err)
{
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc = dr_vips_encode(&bytes, &size, job, rgb, err);

    if (!rc)
        rc = dr_webp_with_texts(&out->bytes, &out->size, bytes, size, job->width, job->height, texts, err);
    dr_vips_free(bytes);
    return rc;
}

dr_status dr_rendition_encode(dr_rendition *out, const dr_job *job, int image, const char *model_fingerprint,
                              const uint8_t *rgb, dr_error *err)
{
    static dr_status (*const encode[DR_PICTURE_FORMATS])(dr_rendition *, const dr_job *,
                                                         const dr_picture_texts *, const uint8_t *,
                                                         dr_error *) = {
        [DR_PNG] = encode_png,
        [DR_JPEG] = encode_jpeg,
        [DR_WEBP] = encode_webp,
    };
    dr_picture_texts texts;
    dr_status rc;

    *out = (dr_rendition){
        .format = job->format,
        .seed = dr_job_image_seed(job, image),
        .width = job->width,
        .height = job->height,
    };
    rc = dr_picture_texts_make(&texts, job, image, model_fingerprint, err);
    if (!rc)
        rc = encode[job->format](out, job, &texts, rgb, err);
    if (!rc)
        dr_sha256_hex(out->sha256, out->bytes, out->size);
    dr_picture_texts_free(&texts);
    return rc;
}
