/* A sheet has every picture's place, whatever its shape and label; of too many it has some. */
#include "tests/temp_folder.h"
#include "worker/contact_sheet.h"
#include "worker/files.h"
#include "worker/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vips/vips.h>

#include <cmocka.h>

static temp_folder folder;
static char sheet[96], small[96], wide[96];

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
    snprintf(sheet, sizeof(sheet), "%s/sheet.png", folder.path);
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

static void size_of_sheet(int *width, int *height)
{
    VipsImage *image = vips_image_new_from_file(sheet, NULL);
    assert_non_null(image);
    *width = image->Xsize;
    *height = image->Ysize;
    g_object_unref(image);
}

static void every_picture_has_its_place(void **state)
{
    const dr_sheet_picture pictures[] = {
        { small, "plain" },
        { wide, "<b>not markup</b> & \"quotes\"" },
        { small, "" },
        { small, " \t " },
        { small,
          "\xe8\xb5\xa4\xe3\x81\x84\xe7\x8b\x90, and a text that is a good deal longer than two lines of it "
          "can hold" },
        { wide, "averyveryverylongwordthathasnoplacewhereitcouldbebrokenintotwolines" },
    };
    int one_width, one_height, width, height;
    dr_error err;
    (void)state;

    assert_int_equal(dr_contact_sheet_write(sheet, &pictures[1], 1, &err), DR_OK);
    size_of_sheet(&one_width, &one_height);
    if (dr_contact_sheet_write(sheet, pictures, 6, &err))
        fail_msg("%s", err.text);
    size_of_sheet(&width, &height);
    assert_int_equal(width, 3 * one_width);
    assert_int_equal(height, 2 * one_height);
}

static void of_too_many_it_has_some(void **state)
{
    enum { MANY = 3 * DR_SHEET_PICTURES_MAX + 7 };
    dr_sheet_picture pictures[MANY];
    int one_width, one_height, width, height;
    (void)state;

    for (int i = 0; i < MANY; i++)
        pictures[i] = (dr_sheet_picture){ small, "a" };
    assert_int_equal(dr_contact_sheet_write(sheet, pictures, 1, NULL), DR_OK);
    size_of_sheet(&one_width, &one_height);
    assert_int_equal(dr_contact_sheet_write(sheet, pictures, MANY, NULL), DR_OK);
    size_of_sheet(&width, &height);
    assert_int_equal(width, 10 * one_width);
    assert_int_equal(height, 10 * one_height);
}

static void a_picture_that_is_none_is_named(void **state)
{
    dr_sheet_picture pictures[] = { { small, "a" }, { "/no/such/picture.png", "b" } };
    dr_error err;
    (void)state;

    assert_int_equal(dr_contact_sheet_write(sheet, pictures, 2, &err), DR_EIO);
    assert_non_null(strstr(err.text, "/no/such/picture.png"));
    assert_int_equal(dr_file_write(wide, "no picture", 10, NULL), DR_OK);
    pictures[1].path = wide;
    assert_int_equal(dr_contact_sheet_write(sheet, pictures, 2, &err), DR_EIO);
    assert_non_null(strstr(err.text, "wide.png"));
    assert_int_not_equal(access(sheet, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_picture_has_its_place, begin, end),
        cmocka_unit_test_setup_teardown(of_too_many_it_has_some, begin, end),
        cmocka_unit_test_setup_teardown(a_picture_that_is_none_is_named, begin, end),
    };
    int failed;

    if (dr_pictures_start(NULL))
        return 1;
    failed = cmocka_run_group_tests_name("contact_sheet", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
