#include "worker/pictures/contact_sheet.h"

#include "worker/pictures/caption.h"
#include "worker/pictures/sheet_layout.h"
#include "worker/support/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vips/vips.h>

enum {
    CELL_MAX = 192,            /* pixels: the longer side of a picture on the sheet */
    CELL_MIN = 128,            /* pixels: the least width of a caption */
    FILE_BYTES_MAX = 64 << 20, /* of a picture: ours are smaller */
    ID_SHOWN = 40,             /* characters of an id: a longer one is shown by its beginning and its end */
};

typedef struct sheet_page {
    const dr_sheet_picture *picture;
    int count, cell;
    dr_sheet_item item[DR_SHEET_PICTURES_MAX];
    dr_caption caption[DR_SHEET_PICTURES_MAX];
    uint8_t *thumbnail[DR_SHEET_PICTURES_MAX]; /* RGB, as large as the item says; g_free() */
    uint8_t *rgb;
    int width, height;
} sheet_page;

static void free_page(sheet_page *p)
{
    for (int i = 0; i < p->count; i++) {
        dr_caption_free(&p->caption[i]);
        g_free(p->thumbnail[i]);
    }
    free(p->rgb);
    free(p);
}

/* --- parts ------------------------------------------------------------------------------------ */

/* The side of a cell in pixels: no larger than the largest picture needs. */
static int cell_side(const dr_sheet_picture *pictures, int count)
{
    int side = CELL_MIN;

    for (int i = 0; i < count; i++) {
        VipsImage *header;
        void *bytes;
        size_t size;
        if (dr_file_read(pictures[i].path, FILE_BYTES_MAX, &bytes, &size, NULL))
            continue; /* read_thumbnail() will fail, and say why */
        header = vips_image_new_from_buffer(bytes, size, "", NULL);
        if (header) {
            side = VIPS_MAX(side, VIPS_MAX(header->Xsize, header->Ysize));
            g_object_unref(header);
        }
        free(bytes);
    }
    vips_error_clear();
    return VIPS_MIN(side, CELL_MAX);
}

/* libvips gets the bytes and not the path, because dr_file_read() opens nothing but regular files. */
static dr_status read_thumbnail(sheet_page *p, int i, dr_error *err)
{
    const char *path = p->picture[i].path;
    VipsObject *scope = VIPS_OBJECT(vips_image_new()); /* owns what is made on the way */
    VipsImage **t = (VipsImage **)vips_object_local_array(scope, 2);
    size_t file_size, size;
    dr_error why;
    void *bytes;
    dr_status rc = dr_file_read(path, FILE_BYTES_MAX, &bytes, &file_size, &why);

    if (rc)
        rc = dr_fail(err, DR_EIO, "contact sheet: %s", why.text);
    else if (vips_thumbnail_buffer(bytes, file_size, &t[0], p->cell, "height", p->cell, "size",
                                   VIPS_SIZE_DOWN, NULL) ||
             vips_colourspace(t[0], &t[1], VIPS_INTERPRETATION_sRGB, NULL))
        rc = dr_fail(err, DR_EIO, "contact sheet: %s: %s", path, vips_error_buffer());
    else if (t[1]->Bands != 3)
        rc = dr_fail(err, DR_EIO, "contact sheet: %s: %d channels, not 3", path, t[1]->Bands);
    else if (!(p->thumbnail[i] = vips_image_write_to_memory(t[1], &size)))
        rc = dr_fail(err, DR_EIO, "contact sheet: %s: %s", path, vips_error_buffer());
    else
        p->item[i] = (dr_sheet_item){ .width = t[1]->Xsize, .height = t[1]->Ysize };
    vips_error_clear();
    g_object_unref(scope);
    free(bytes);
    return rc;
}

static dr_status draw_caption(sheet_page *p, int i, dr_error *err)
{
    const dr_sheet_picture *picture = &p->picture[i];
    const int length = (int)strlen(picture->id); /* ids are ASCII */
    char name[ID_SHOWN + 48];
    dr_status rc;

    if (length <= ID_SHOWN)
        snprintf(name, sizeof(name), "%s, seed %" PRIu64, picture->id, picture->seed);
    else
        snprintf(name, sizeof(name), "%.*s\xe2\x80\xa6%s, seed %" PRIu64, ID_SHOWN / 2, picture->id,
                 picture->id + length - ID_SHOWN / 2, picture->seed);
    rc = dr_caption_draw(&p->caption[i], picture->label, name, p->cell, err);
    p->item[i].caption_height = p->caption[i].height;
    return rc;
}

/* --- a page -------------------------------------------------------------------------------------- */

static void put(sheet_page *p, const uint8_t *rgb, int width, int height, int x, int y)
{
    dr_assert(x >= 0 && y >= 0 && x + width <= p->width && y + height <= p->height);
    for (int row = 0; row < height; row++)
        memcpy(p->rgb + 3 * ((size_t)(y + row) * (size_t)p->width + (size_t)x),
               rgb + 3 * (size_t)row * (size_t)width, 3 * (size_t)width);
}

static dr_status compose(sheet_page *p, dr_error *err)
{
    size_t bytes;

    dr_sheet_layout(p->item, p->count, p->cell, &p->width, &p->height);
    bytes = 3 * (size_t)p->width * (size_t)p->height;
    p->rgb = malloc(bytes);
    if (!p->rgb)
        return dr_fail(err, DR_ENOMEM, "no memory for a contact sheet of %dx%d", p->width, p->height);
    memset(p->rgb, 255, bytes);
    for (int i = 0; i < p->count; i++) {
        const dr_sheet_item *item = &p->item[i];
        const dr_caption *caption = &p->caption[i];
        put(p, p->thumbnail[i], item->width, item->height, item->x, item->y);
        put(p, caption->rgb, caption->width, caption->height, item->x, item->caption_y);
    }
    return DR_OK;
}

static dr_status save(const sheet_page *p, const char *path, dr_error *err)
{
    const size_t pixels_bytes = 3 * (size_t)p->width * (size_t)p->height;
    VipsImage *image =
        vips_image_new_from_memory(p->rgb, pixels_bytes, p->width, p->height, 3, VIPS_FORMAT_UCHAR);
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc;

    if (!image || vips_pngsave_buffer(image, &bytes, &size, "compression", 6, NULL))
        rc = dr_fail(err, DR_ENOMEM, "contact sheet: %s", vips_error_buffer());
    else
        rc = dr_file_write(path, bytes, size, err);
    vips_error_clear();
    g_free(bytes);
    if (image)
        g_object_unref(image);
    return rc;
}

static dr_status write_page(const char *path, const dr_sheet_picture *pictures, int count, uint32_t *missing,
                            dr_error *err)
{
    sheet_page *p = calloc(1, sizeof(*p));
    dr_status rc = DR_OK;

    if (!p)
        return dr_fail(err, DR_ENOMEM, "no memory for a contact sheet");
    p->picture = pictures;
    p->count = count;
    p->cell = cell_side(pictures, count);
    for (int i = 0; i < count && !rc; i++) {
        rc = read_thumbnail(p, i, err);
        if (!rc)
            rc = draw_caption(p, i, err);
        if (!*missing)
            *missing = p->caption[i].missing;
    }
    if (!rc)
        rc = compose(p, err);
    if (!rc)
        rc = save(p, path, err);
    free_page(p);
    return rc;
}

/* --- the sheet ------------------------------------------------------------------------------------ */

static const char STEM[] = "contact-sheet";

void dr_contact_sheet_name(char name[DR_SHEET_NAME_MAX], int page)
{
    if (page == 1)
        snprintf(name, DR_SHEET_NAME_MAX, "%s.png", STEM);
    else
        snprintf(name, DR_SHEET_NAME_MAX, "%s-%d.png", STEM, page);
}

bool dr_contact_sheet_owns(const char *id)
{
    const size_t n = sizeof(STEM) - 1;

    if (strncmp(id, STEM, n) != 0)
        return false;
    return id[n] == 0 || (id[n] == '-' && id[n + 1] && id[n + 1 + strspn(id + n + 1, "0123456789")] == 0);
}

static char *path_of(const char *folder, int page)
{
    char name[DR_SHEET_NAME_MAX];

    dr_contact_sheet_name(name, page);
    return g_build_filename(folder, name, NULL);
}

dr_status dr_contact_sheet_write(const char *folder, const dr_sheet_picture *pictures, int count,
                                 dr_sheet_pages *out, dr_error *err)
{
    const int most = DR_SHEET_PICTURES_MAX * DR_SHEET_PAGES_MAX, shown = VIPS_MIN(count, most);
    dr_status rc = DR_OK;

    dr_assert(count > 0);
    *out = (dr_sheet_pages){ .left_out = count - shown };
    for (int first = 0; first < shown && !rc; first += DR_SHEET_PICTURES_MAX) {
        char *path = path_of(folder, out->pages + 1);
        rc = write_page(path, pictures + first, VIPS_MIN(shown - first, DR_SHEET_PICTURES_MAX), &out->missing,
                        err);
        out->pages += !rc;
        g_free(path);
    }
    for (int page = out->pages + 1; !rc && page <= DR_SHEET_PAGES_MAX; page++) {
        char *path = path_of(folder, page);
        unlink(path);
        g_free(path);
    }
    return rc;
}

static const char *font_for(uint32_t character)
{
    if (character >= 0x2e80 && character <= 0xd7ff) /* from radicals to Hangul */
        return "Debian's package fonts-noto-cjk has it";
    if (character >= 0x1f000 && character <= 0x1faff)
        return "Debian's package fonts-noto-color-emoji has it";
    return "install a font that has it";
}

void dr_contact_sheet_text(char *text, size_t size, const char *folder, const dr_sheet_pages *pages)
{
    char *path = path_of(folder, 1);
    size_t used = (size_t)snprintf(text, size, "contact sheet: %s", path);

    g_free(path);
    if (pages->pages > 1 && used < size)
        used += (size_t)snprintf(text + used, size - used, ", %d pages", pages->pages);
    if (pages->left_out && used < size)
        used += (size_t)snprintf(text + used, size - used, "; %d more pictures did not fit", pages->left_out);
    if (used < size)
        used += (size_t)snprintf(text + used, size - used, "\n");
    if (pages->missing && used < size)
        snprintf(text + used, size - used,
                 "contact sheet: no font here has the character U+%04" PRIX32 " of a caption: %s\n",
                 pages->missing, font_for(pages->missing));
}
