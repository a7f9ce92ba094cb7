#include "worker/pictures/vips_encode.h"

#include "worker/pictures/picture.h"

#include <vips/vips.h>

enum { WEBP_EFFORT = 2 /* of 6.  libvips' own 4 takes twice the time and saves 6% of the bytes */ };

static dr_status fail_vips(dr_error *err, dr_status status, const char *what)
{
    char *text = vips_error_buffer_copy(); /* which also empties the buffer */

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

static int save(VipsImage *image, const dr_job *job, void **bytes, size_t *size)
{
    if (job->format == DR_JPEG)
        return vips_jpegsave_buffer(image, bytes, size, "Q", job->quality, "optimize_coding", TRUE, "strip",
                                    TRUE, NULL);
    dr_assert(job->format == DR_WEBP);
    return vips_webpsave_buffer(image, bytes, size, "Q", job->quality, "effort", WEBP_EFFORT, "strip", TRUE,
                                NULL);
}

dr_status dr_vips_encode(void **bytes, size_t *size, const dr_job *job, const uint8_t *rgb, dr_error *err)
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

void dr_vips_free(void *bytes)
{
    g_free(bytes);
}
