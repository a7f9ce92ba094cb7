#include "worker/pictures/caption.h"

#include <pango/pangocairo.h>
#include <stdlib.h>

enum {
    LABEL_PIXELS = 12, /* size of the font: large enough to read at arm's length */
    NAME_PIXELS = 11,
    NAME_LINES_MAX = 8, /* more than a name has, for it shows a long id shortened */
    BELOW = 2,          /* pixels below the last line, because ink may reach a little below its line */
};

static PangoLayout *lay_out(cairo_t *cairo, const char *text, int width, int pixels, int lines)
{
    PangoLayout *layout = pango_cairo_create_layout(cairo);
    PangoFontDescription *font = pango_font_description_from_string("Sans");

    pango_font_description_set_absolute_size(font, pixels * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_font_description_free(font);
    pango_layout_set_width(layout, width * PANGO_SCALE);
    pango_layout_set_height(layout, -lines); /* a negative height counts lines of a paragraph */
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
    pango_layout_set_single_paragraph_mode(layout, TRUE);
    pango_layout_set_text(layout, text, -1);
    return layout;
}

static int height_of(PangoLayout *layout)
{
    PangoRectangle ink, logical;

    pango_layout_get_pixel_extents(layout, &ink, &logical);
    return MAX(logical.y + logical.height, ink.y + ink.height);
}

/* The first character that no font has, which is drawn as a box with its number; 0: there is none. */
static uint32_t missing_of(PangoLayout *layout)
{
    PangoLayoutIter *at = pango_layout_get_iter(layout);
    uint32_t missing = 0;

    do {
        const PangoLayoutRun *run = pango_layout_iter_get_run_readonly(at);
        for (int i = 0; run && i < run->glyphs->num_glyphs && !missing; i++)
            if (run->glyphs->glyphs[i].glyph & PANGO_GLYPH_UNKNOWN_FLAG &&
                run->glyphs->glyphs[i].glyph != PANGO_GLYPH_INVALID_INPUT)
                missing = run->glyphs->glyphs[i].glyph & ~PANGO_GLYPH_UNKNOWN_FLAG;
    } while (!missing && pango_layout_iter_next_run(at));
    pango_layout_iter_free(at);
    return missing;
}

static void draw(cairo_t *cairo, PangoLayout *layout, double y, double gray)
{
    cairo_set_source_rgb(cairo, gray, gray, gray);
    cairo_move_to(cairo, 0, y);
    pango_cairo_show_layout(cairo, layout);
}

/* From cairo's pixels, which are words with red in bits 16 to 23.  False without memory. */
static bool copy_pixels(dr_caption *caption, cairo_surface_t *surface)
{
    const int stride = cairo_image_surface_get_stride(surface);
    const uint8_t *from;
    uint8_t *to;

    cairo_surface_flush(surface);
    from = cairo_image_surface_get_data(surface);
    to = caption->rgb = malloc((size_t)caption->width * (size_t)caption->height * 3);
    for (int y = 0; to && from && y < caption->height; y++) {
        const uint32_t *row = (const uint32_t *)(const void *)(from + (size_t)y * (size_t)stride);
        for (int x = 0; x < caption->width; x++) {
            *to++ = (uint8_t)(row[x] >> 16);
            *to++ = (uint8_t)(row[x] >> 8);
            *to++ = (uint8_t)row[x];
        }
    }
    return from && caption->rgb;
}

dr_status dr_caption_draw(dr_caption *out, const char *label, const char *name, int width, dr_error *err)
{
    cairo_surface_t *probe = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1), *surface;
    cairo_t *cairo = cairo_create(probe);
    PangoLayout *label_layout = lay_out(cairo, label, width, LABEL_PIXELS, DR_CAPTION_LABEL_LINES_MAX);
    PangoLayout *name_layout = lay_out(cairo, name, width, NAME_PIXELS, NAME_LINES_MAX);
    const int label_height = height_of(label_layout);
    bool drawn;

    *out = (dr_caption){
        .width = width,
        .height = label_height + height_of(name_layout) + BELOW,
        .label_lines = pango_layout_get_line_count(label_layout),
        .shortened = pango_layout_is_ellipsized(label_layout),
        .missing = missing_of(label_layout),
    };
    cairo_destroy(cairo);
    surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, out->width, out->height);
    cairo = cairo_create(surface);
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    draw(cairo, label_layout, 0, 0);
    draw(cairo, name_layout, label_height, 0.4);
    drawn = cairo_status(cairo) == CAIRO_STATUS_SUCCESS && copy_pixels(out, surface);
    g_object_unref(label_layout);
    g_object_unref(name_layout);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    cairo_surface_destroy(probe);
    if (drawn)
        return DR_OK;
    dr_caption_free(out);
    return dr_fail(err, DR_ENOMEM, "no memory for a caption");
}

void dr_caption_free(dr_caption *caption)
{
    free(caption->rgb);
    *caption = (dr_caption){ 0 };
}
