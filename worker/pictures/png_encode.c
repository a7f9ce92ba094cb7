#include "worker/pictures/png_encode.h"

#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* zlib's own level 6 takes ten times as long and saves a tenth of the bytes: 140 ms against 12 at
     * 512x512. */
    COMPRESSION = 1,
    PIXELS_PER_METER = 1000, /* what libvips writes where the resolution is unknown */
};

typedef struct memory {
    uint8_t *bytes; /* owned */
    size_t size, room;
    char why[128]; /* what libpng says of a failure */
} memory;

static void on_error(png_structp png, png_const_charp why)
{
    memory *m = png_get_error_ptr(png);

    snprintf(m->why, sizeof(m->why), "%s", why);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why)
{
    (void)png, (void)why;
}

static void on_bytes(png_structp png, png_bytep bytes, size_t size)
{
    memory *m = png_get_io_ptr(png);

    if (m->room - m->size < size) {
        const size_t room = 2 * m->room + size;
        uint8_t *more = realloc(m->bytes, room);
        if (!more)
            png_error(png, "no memory");
        m->bytes = more;
        m->room = room;
    }
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

/* False: m->why says why.  libpng holds nothing afterwards. */
static bool write_png(memory *m, const uint8_t *rgb, int width, int height)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, m, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;

    if (!info || setjmp(png_jmpbuf(png))) { /* png and info do not change after this, as longjmp() asks */
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_set_write_fn(png, m, on_bytes, NULL);
    png_set_compression_level(png, COMPRESSION);
    png_set_filter(png, 0, PNG_FILTER_SUB);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_pHYs(png, info, PIXELS_PER_METER, PIXELS_PER_METER, PNG_RESOLUTION_METER);
    png_write_info(png, info);
    for (int y = 0; y < height; y++)
        png_write_row(png, rgb + (size_t)y * (size_t)width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return true;
}

dr_status dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                        dr_error *err)
{
    memory m = { .why = "no memory" };

    if (!write_png(&m, rgb, width, height)) {
        free(m.bytes);
        return dr_fail(err, DR_ENOMEM, "encoding: libpng: %s", m.why);
    }
    *out = m.bytes;
    *out_size = m.size;
    return DR_OK;
}
