#include "worker/pictures/webp_text.h"

#include "worker/pictures/exif.h"

#include <stdlib.h>
#include <string.h>

enum {
    RIFF_BYTES = 12, /* "RIFF", size, "WEBP" */
    CHUNK_BYTES = 8, /* a chunk's name and size */
    VP8X_BYTES = 10,
    HAS_EXIF = 8,
    HAS_XMP = 4,
    EXIF_BYTES_MAX = 1 << 20, /* the longest two prompts take less than a tenth */
};

static void put_le(uint8_t *at, size_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Returns the place behind the chunk.  A chunk of odd size is padded with a 0. */
static uint8_t *put_chunk(uint8_t *at, const char *name, const void *data, size_t size)
{
    memcpy(at, name, 4);
    put_le(at + 4, size, 4);
    memcpy(at + CHUNK_BYTES, data, size);
    at += CHUNK_BYTES + size;
    if (size & 1)
        *at++ = 0;
    return at;
}

static size_t get_le32(const uint8_t *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

/* The chunk that holds the picture; *chunk_size counts its head and no padding.  libvips puts EXIF of its
 * own beside it. */
static const uint8_t *picture_of(const uint8_t *webp, size_t size, size_t *chunk_size)
{
    size_t at = RIFF_BYTES;

    while (at + CHUNK_BYTES <= size && memcmp(webp + at, "VP8 ", 4) != 0)
        at += CHUNK_BYTES + (get_le32(webp + at + 4) + 1) / 2 * 2;
    dr_assert(at + CHUNK_BYTES <= size);
    *chunk_size = CHUNK_BYTES + get_le32(webp + at + 4);
    dr_assert(*chunk_size <= size - at);
    return webp + at;
}

dr_status dr_webp_with_texts(void **out, size_t *out_size, const void *webp, size_t size, int width,
                             int height, const dr_picture_texts *texts, dr_error *err)
{
    uint8_t vp8x[VP8X_BYTES] = { HAS_EXIF | HAS_XMP }, *exif, *bytes, *at;
    const size_t xmp_size = strlen(texts->xmp);
    size_t exif_size, picture_size;
    const uint8_t *picture = picture_of(webp, size, &picture_size);
    dr_status rc;

    rc = dr_exif_make(&exif, &exif_size, texts->parameters, EXIF_BYTES_MAX, err);
    if (rc)
        return rc;
    bytes = malloc(RIFF_BYTES + picture_size + 4 * (CHUNK_BYTES + 1) + VP8X_BYTES + exif_size + xmp_size);
    if (!bytes) {
        free(exif);
        return dr_fail(err, DR_ENOMEM, "no memory for a picture of %zu bytes", size);
    }
    put_le(vp8x + 4, (size_t)width - 1, 3);
    put_le(vp8x + 7, (size_t)height - 1, 3);
    memcpy(bytes, webp, RIFF_BYTES);
    at = put_chunk(bytes + RIFF_BYTES, "VP8X", vp8x, sizeof(vp8x));
    at = put_chunk(at, "VP8 ", picture + CHUNK_BYTES, picture_size - CHUNK_BYTES);
    at = put_chunk(at, "EXIF", exif, exif_size);
    at = put_chunk(at, "XMP ", texts->xmp, xmp_size);
    *out = bytes;
    *out_size = (size_t)(at - bytes);
    put_le(bytes + 4, *out_size - 8, 4);
    free(exif);
    return DR_OK;
}
