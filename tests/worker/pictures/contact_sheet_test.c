/* A sheet has every picture, in pages.  Its captions are whole, stand by their pictures, and hold ids and
 * seeds. */
#include "tests/support/temp_folder.h"
#include "worker/pictures/caption.h"
#include "worker/pictures/contact_sheet.h"
#include "worker/pictures/picture.h"
#include "worker/pictures/sheet_layout.h"
#include "worker/support/files.h"

#include <stdio.h>
#include <vips/vips.h>

static temp_folder folder;
static char small[96], wide[96];

static void write_picture(const char *path, int width, int height)
{
    uint8_t *rgb = malloc((size_t)(width * height) * 3);
    VipsImage *image;

    memset(rgb, 200, (size_t)(width * height) * 3);
    image =
        vips_image_new_from_memory(rgb, (size_t)(width * height) * 3, width, height, 3, VIPS_FORMAT_UCHAR);
    assert_int_equal(vips_pngsave(image, path, NULL), 0);
    g_object_unref(image);
    free(rgb);
}

static int begin(void **state)
{
    (void)state;
    temp_open(&folder);
    snprintf(small, sizeof(small), "%s/small.png", folder.path);
    snprintf(wide, sizeof(wide), "%s/wide.png", folder.path);
    write_picture(small, 64, 64);
    write_picture(wide, 800, 100);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_close(&folder);
    return 0;
}

/* --- captions ---------------------------------------------------------------------------------- */

static dr_caption draw(const char *label, const char *name, int width)
{
    dr_caption caption;
    dr_error err;

    if (dr_caption_draw(&caption, label, name, width, &err))
        fail_msg("%s", err.text);
    assert_int_equal(caption.width, width);
    return caption;
}

static bool row_has_ink(const dr_caption *c, int y)
{
    for (int i = 0; i < 3 * c->width; i++)
        if (c->rgb[3 * y * c->width + i] < 255)
            return true;
    return false;
}

/* How many lines of text a caption has: groups of rows with ink, between rows without. */
static int lines_of_ink(const dr_caption *c)
{
    int lines = 0;

    for (int y = 0; y < c->height; y++)
        lines += row_has_ink(c, y) && (y == 0 || !row_has_ink(c, y - 1));
    return lines;
}

static void a_long_label_ends_in_an_ellipsis_and_not_in_half_a_line(void **state)
{
    /* These letters have no ascenders, so there are rows without ink between the lines. */
    const char *one = "a moon", *two = "a moon on a moor near our sea",
               *many =
                   "a moon on a moor near our sea, seen among "
                   "many more moons on many more moors";
    dr_caption c = draw(one, "xn", 128);
    (void)state;

    assert_int_equal(c.label_lines, 1);
    assert_false(c.shortened);
    assert_int_equal(lines_of_ink(&c), 2);
    dr_caption_free(&c);
    c = draw(two, "xn", 128);
    assert_int_equal(c.label_lines, 2);
    assert_false(c.shortened);
    dr_caption_free(&c);
    c = draw(many, "xn", 128);
    assert_int_equal(c.label_lines, 2);
    assert_true(c.shortened);
    assert_int_equal(lines_of_ink(&c), 3);
    assert_false(row_has_ink(&c, c.height - 1)); /* no text is cut off at the bottom */
    dr_caption_free(&c);
    c = draw("averyveryverylongwordthathasnoplacewhereitcouldbebrokenintotwolines", "fox, seed 1", 128);
    assert_int_equal(c.label_lines, 2);
    assert_true(c.shortened);
    dr_caption_free(&c);
}

static void the_name_is_there_whatever_its_length(void **state)
{
    dr_caption plain = draw("a moon", "xn", 128),
               longest = draw("a moon",
                              "0123456789abcdef0123\xe2\x80\xa6"
                              "0123456789abcdef0123, seed 18446744073709551615",
                              128),
               nothing = draw(" \t ", "xn", 128), empty = draw("", "xn", 128);
    (void)state;

    assert_true(longest.height >= plain.height + 2 * 11); /* two lines more at the least */
    assert_false(row_has_ink(&longest, longest.height - 1));
    assert_int_equal(lines_of_ink(&nothing), 1);
    assert_int_equal(lines_of_ink(&empty), 1);
    dr_caption_free(&plain);
    dr_caption_free(&longest);
    dr_caption_free(&nothing);
    dr_caption_free(&empty);
}

/* A private character is in no font.  The letters are in the font that fontconfig itself needs. */
static void a_character_that_no_font_has_is_told(void **state)
{
    dr_caption c = draw("plain \xc3\xa4\xc3\xb6\xc3\xbc", "xn", 128);
    (void)state;

    assert_int_equal(c.missing, 0);
    dr_caption_free(&c);
    c = draw("a \xf4\x80\x80\x81 b \xf4\x80\x80\x82", "xn", 128);
    assert_int_equal(c.missing, 0x100001);
    dr_caption_free(&c);
}

/* --- layout ------------------------------------------------------------------------------------ */

static bool apart(int a, int a_size, int b, int b_size)
{
    return a + a_size <= b || b + b_size <= a;
}

static void check_layout(const dr_sheet_item *item, int count, int cell, int width, int height)
{
    for (int a = 0; a < count; a++) {
        const int bottom = item[a].caption_y + item[a].caption_height;
        const int gap = item[a].caption_y - (item[a].y + item[a].height);
        assert_true(item[a].x > 0 && item[a].y > 0 && item[a].x + cell < width && bottom < height);
        assert_true(gap >= 0);
        for (int b = 0; b < count; b++) {
            const int b_bottom = item[b].caption_y + item[b].caption_height;
            if (a == b)
                continue;
            assert_true(apart(item[a].x, cell, item[b].x, cell) ||
                        apart(item[a].y, bottom - item[a].y, item[b].y, b_bottom - item[b].y));
            if (item[a].x == item[b].x &&
                item[b].y > item[a].y) /* a caption is nearer to its own picture than to the next */
                assert_true(2 * gap < item[b].y - bottom);
        }
    }
}

static void captions_stand_by_their_pictures(void **state)
{
    static const int counts[] = { 1, 2, 3, 4, 5, 12, 13, 99, 100 };
    dr_sheet_item item[DR_SHEET_PICTURES_MAX];
    int width, height;
    (void)state;

    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        for (int i = 0; i < counts[c]; i++)
            item[i] = (dr_sheet_item){ .width = 192 >> i % 3,
                                       .height = i % 2 ? 192 : 24,
                                       .caption_height = 30 + 11 * (i % 4) };
        dr_sheet_layout(item, counts[c], 192, &width, &height);
        check_layout(item, counts[c], 192, width, height);
    }
}

/* --- the sheet ----------------------------------------------------------------------------------- */

static bool page_is_there(int page)
{
    char name[DR_SHEET_NAME_MAX];
    dr_contact_sheet_name(name, page);
    return access(temp_path(&folder, name), F_OK) == 0;
}

static void write_sheet(const dr_sheet_picture *pictures, int count, dr_sheet_pages *pages)
{
    dr_error err;
    if (dr_contact_sheet_write(folder.path, pictures, count, pages, &err))
        fail_msg("%s", err.text);
}

static void every_picture_has_its_place(void **state)
{
    const dr_sheet_picture pictures[] = {
        { small, "plain", "a", 1 },
        { wide, "<b>not markup</b> & \"quotes\"", "b", 2 },
        { small, "", "c", 3 },
        { small,
          "\xe8\xb5\xa4\xe3\x81\x84\xe7\x8b\x90, and a text that is a good deal longer than two lines of it "
          "can hold",
          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", UINT64_MAX },
    };
    const char *path;
    dr_sheet_pages pages;
    VipsImage *image;
    double least;
    (void)state;

    write_sheet(pictures, 4, &pages);
    assert_int_equal(pages.pages, 1);
    assert_int_equal(pages.left_out, 0);
    path = temp_path(&folder, "contact-sheet.png");
    image = vips_image_new_from_file(path, NULL);
    assert_non_null(image);
    assert_int_equal(image->Xsize, 2 * 10 + 2 * 192 + 14);
    assert_int_equal(vips_min(image, &least, NULL), 0);
    assert_true(least < 100); /* captions are drawn on it */
    g_object_unref(image);
}

static void more_than_a_page_holds_go_on_the_next(void **state)
{
    enum { MANY = 2 * DR_SHEET_PICTURES_MAX + 1 };
    dr_sheet_picture pictures[MANY];
    dr_sheet_pages pages;
    char text[512];
    (void)state;

    for (int i = 0; i < MANY; i++)
        pictures[i] = (dr_sheet_picture){ small, "a", "a", (uint64_t)i };
    write_sheet(pictures, MANY, &pages);
    assert_int_equal(pages.pages, 3);
    assert_true(page_is_there(1) && page_is_there(2) && page_is_there(3) && !page_is_there(4));
    dr_contact_sheet_text(text, sizeof(text), "OUT", &pages);
    assert_string_equal(text, "contact sheet: OUT/contact-sheet.png, 3 pages\n");
    write_sheet(pictures, 2, &pages);
    assert_true(page_is_there(1) && !page_is_there(2) &&
                !page_is_there(3)); /* pages of the sheet before are gone */
    assert_int_equal(pages.pages, 1);
}

static void what_no_font_has_is_said_once(void **state)
{
    const dr_sheet_picture pictures[] = {
        { small, "plain", "a", 1 },
        { small, "\xf4\x80\x80\x81\xf4\x80\x80\x82", "b", 2 },
        { small, "\xf4\x80\x80\x83", "c", 3 },
    };
    dr_sheet_pages pages;
    char text[512];
    (void)state;

    write_sheet(pictures, 3, &pages);
    assert_int_equal(pages.missing, 0x100001);
    dr_contact_sheet_text(text, sizeof(text), "OUT", &pages);
    assert_string_equal(text,
                        "contact sheet: OUT/contact-sheet.png\n"
                        "contact sheet: no font here has the character U+100001 of a caption: install a "
                        "font that has it\n");
    pages.missing = 0x8d64;
    pages.left_out = 7;
    dr_contact_sheet_text(text, sizeof(text), "OUT", &pages);
    assert_non_null(strstr(text, "fonts-noto-cjk"));
    assert_non_null(strstr(text, "7 more pictures"));
}

static void ids_that_would_be_pages_are_known(void **state)
{
    (void)state;
    assert_true(dr_contact_sheet_owns("contact-sheet") && dr_contact_sheet_owns("contact-sheet-2"));
    assert_false(dr_contact_sheet_owns("contact-sheet-2b") || dr_contact_sheet_owns("contact-sheet-") ||
                 dr_contact_sheet_owns("contact-sheets") || dr_contact_sheet_owns("fox"));
}

static void a_picture_that_is_none_is_named(void **state)
{
    dr_sheet_picture pictures[] = { { small, "a", "a", 1 }, { "/no/such/picture.png", "b", "b", 2 } };
    dr_sheet_pages pages;
    dr_error err;
    (void)state;

    assert_int_equal(dr_contact_sheet_write(folder.path, pictures, 2, &pages, &err), DR_EIO);
    assert_non_null(strstr(err.text, "/no/such/picture.png"));
    assert_int_equal(dr_file_write(wide, "no picture", 10, NULL), DR_OK);
    pictures[1].path = wide;
    assert_int_equal(dr_contact_sheet_write(folder.path, pictures, 2, &pages, &err), DR_EIO);
    assert_non_null(strstr(err.text, "wide.png"));
    assert_false(page_is_there(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_label_ends_in_an_ellipsis_and_not_in_half_a_line),
        cmocka_unit_test(the_name_is_there_whatever_its_length),
        cmocka_unit_test(a_character_that_no_font_has_is_told),
        cmocka_unit_test(captions_stand_by_their_pictures),
        cmocka_unit_test_setup_teardown(every_picture_has_its_place, begin, end),
        cmocka_unit_test_setup_teardown(more_than_a_page_holds_go_on_the_next, begin, end),
        cmocka_unit_test_setup_teardown(what_no_font_has_is_said_once, begin, end),
        cmocka_unit_test(ids_that_would_be_pages_are_known),
        cmocka_unit_test_setup_teardown(a_picture_that_is_none_is_named, begin, end),
    };
    int failed;

    if (dr_pictures_start(NULL))
        return 1;
    failed = cmocka_run_group_tests_name("contact_sheet", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
