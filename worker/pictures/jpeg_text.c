#include "worker/pictures/jpeg_text.h"

#include "worker/pictures/exif.h"

#include <stdlib.h>
#include <string.h>

enum {
    MARKER_BYTES = 4, /* a segment's marker and length */
    SEGMENT_BYTES_MAX = 65533,
};

static const char EXIF_HEAD[6] = "Exif\0"; /* ends in two zeros */
static const char XMP_HEAD[] = "http://ns.adobe.com/xap/1.0/";

/* How many bytes stand before the place for APP1: the start, and JFIF's own segment if there is one. */
static size_t head_bytes(const uint8_t *jpeg, size_t size)
{
    dr_assert(size > 6 && jpeg[0] == 0xff && jpeg[1] == 0xd8);
    if (jpeg[2] != 0xff || jpeg[3] != 0xe0)
        return 2;
    const size_t head = 2 + 2 + ((size_t)jpeg[4] << 8 | jpeg[5]);
    dr_assert(head < size);
    return head;
}

/* Returns the place behind the segment. */
static uint8_t *put_app1(uint8_t *at, const void *head, size_t head_size, const void *data, size_t size)
{
    const size_t length = 2 + head_size + size;

    dr_assert(length <= SEGMENT_BYTES_MAX + 2);
    memcpy(at, (const uint8_t[]){ 0xff, 0xe1, (uint8_t)(length >> 8), (uint8_t)length }, MARKER_BYTES);
    memcpy(at + MARKER_BYTES, head, head_size);
    memcpy(at + MARKER_BYTES + head_size, data, size);
    return at + MARKER_BYTES + head_size + size;
}

dr_status dr_jpeg_with_texts(void **out, size_t *out_size, const void *jpeg, size_t size,
                             const dr_picture_texts *texts, dr_error *err)
{
    const size_t head = head_bytes(jpeg, size), xmp_size = strlen(texts->xmp);
    uint8_t *exif, *bytes, *at;
    size_t exif_size;
    dr_status rc;

    rc = dr_exif_make(&exif, &exif_size, texts->parameters, SEGMENT_BYTES_MAX - sizeof(EXIF_HEAD), err);
    if (rc)
        return rc;
    bytes = malloc(size + 2 * (MARKER_BYTES + SEGMENT_BYTES_MAX));
    if (!bytes) {
        free(exif);
        return dr_fail(err, DR_ENOMEM, "no memory for a picture of %zu bytes", size);
    }
    memcpy(bytes, jpeg, head);
    at = put_app1(bytes + head, EXIF_HEAD, sizeof(EXIF_HEAD), exif, exif_size);
    if (xmp_size <= SEGMENT_BYTES_MAX - sizeof(XMP_HEAD))
        at = put_app1(at, XMP_HEAD, sizeof(XMP_HEAD), texts->xmp, xmp_size);
    memcpy(at, (const uint8_t *)jpeg + head, size - head);
    *out = bytes;
    *out_size = (size_t)(at - bytes) + size - head;
    free(exif);
    return DR_OK;
}
