/* Pictures to files and back: the pixels, the texts, and the same bytes every time. */
#include "worker/pictures/picture.h"
#include "worker/pictures/picture_text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

#include <cmocka.h>

enum { WIDTH = 72, HEIGHT = 64 };

static uint8_t rgb[HEIGHT * WIDTH * 3];

static dr_job *job(const char *more)
{
    char line[8192];
    dr_job *out;

    snprintf(line, sizeof(line),
             "{\"id\":\"a\",\"model\":\"tiny\",\"width\":%d,\"height\":%d,\"sampler\":\"euler_a\",%s}", WIDTH,
             HEIGHT, more);
    assert_int_equal(dr_job_parse(&out, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, NULL),
                     DR_OK);
    return out;
}

static dr_rendition encode(const char *more, int image)
{
    dr_job *j = job(more);
    dr_rendition picture;

    assert_int_equal(dr_rendition_encode(&picture, j, image, "0123456789abcdef", rgb, NULL), DR_OK);
    dr_job_free(j);
    return picture;
}

static VipsImage *decode(const dr_rendition *picture)
{
    VipsImage *image = NULL;
    int failed;

    switch (picture->format) {
    case DR_JPEG:
        failed = vips_jpegload_buffer(picture->bytes, picture->size, &image, NULL);
        break;
    case DR_WEBP:
        failed = vips_webpload_buffer(picture->bytes, picture->size, &image, NULL);
        break;
    default:
        failed = vips_pngload_buffer(picture->bytes, picture->size, &image, NULL);
    }
    assert_int_equal(failed, 0);
    assert_int_equal(vips_image_get_width(image), WIDTH);
    assert_int_equal(vips_image_get_height(image), HEIGHT);
    assert_int_equal(vips_image_get_bands(image), 3);
    return image;
}

static double mean_difference(VipsImage *image)
{
    size_t size;
    uint8_t *pixels = vips_image_write_to_memory(image, &size);
    double sum = 0;

    assert_int_equal(size, sizeof(rgb));
    for (size_t i = 0; i < size; i++)
        sum += abs(pixels[i] - rgb[i]);
    g_free(pixels);
    return sum / (double)size;
}

static void png_is_exact(void **state)
{
    dr_rendition picture = encode("\"prompt\":\"a\"", 0);
    VipsImage *image = decode(&picture);
    (void)state;

    assert_true(mean_difference(image) == 0);
    g_object_unref(image);
    free(picture.bytes);
}

/* Quality 90 on a smooth gradient: both formats stay well below 2 of 255 on average, while a swapped
 * channel or a shifted row gives over 20. */
static void jpeg_and_webp_are_close(void **state)
{
    static const char *const formats[] = { "\"format\":\"jpeg\"", "\"format\":\"webp\"" };
    (void)state;

    for (int i = 0; i < 2; i++) {
        dr_rendition picture = encode(formats[i], 0);
        VipsImage *image = decode(&picture);
        assert_true(mean_difference(image) < 2);
        assert_string_equal(dr_picture_media_type(picture.format), i ? "image/webp" : "image/jpeg");
        g_object_unref(image);
        free(picture.bytes);
    }
}

static void quality_is_obeyed(void **state)
{
    static const char *const formats[] = { "jpeg", "webp" };
    (void)state;

    for (int i = 0; i < 2; i++) {
        char low[64], high[64];
        snprintf(low, sizeof(low), "\"format\":\"%s\",\"quality\":10", formats[i]);
        snprintf(high, sizeof(high), "\"format\":\"%s\",\"quality\":100", formats[i]);
        dr_rendition a = encode(low, 0), b = encode(high, 0);
        VipsImage *image_a = decode(&a), *image_b = decode(&b);
        assert_true(mean_difference(image_a) > mean_difference(image_b));
        g_object_unref(image_a);
        g_object_unref(image_b);
        free(a.bytes);
        free(b.bytes);
    }
}

static void the_bytes_depend_on_nothing_else(void **state)
{
    static const char *const formats[] = { "png", "jpeg", "webp" };
    (void)state;

    for (int i = 0; i < 3; i++) {
        char more[128];
        snprintf(more, sizeof(more), "\"format\":\"%s\",\"seed\":4", formats[i]);
        dr_rendition a = encode(more, 1);
        snprintf(more, sizeof(more), "\"format\":\"%s\",\"seed\":5,\"priority\":3,\"correlation_id\":\"x\"",
                 formats[i]);
        dr_rendition b = encode(more, 0); /* another job that asks for the same picture */
        snprintf(more, sizeof(more), "\"format\":\"%s\",\"seed\":6", formats[i]);
        dr_rendition c = encode(more, 0);
        assert_string_equal(a.sha256, b.sha256);
        assert_string_not_equal(a.sha256, c.sha256); /* its seed is written into it */
        assert_int_equal(a.size, b.size);
        assert_true(a.seed == 5);
        free(a.bytes);
        free(b.bytes);
        free(c.bytes);
    }
}

/* The text of a PNG's text chunk, malloc'ed; NULL: there is no such chunk. */
static char *png_text(const dr_rendition *picture, const char *type, const char *key)
{
    const uint8_t *at = (const uint8_t *)picture->bytes + 8,
                  *end = (const uint8_t *)picture->bytes + picture->size;

    while (at + 12 <= end) {
        const size_t n = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (memcmp(at + 4, type, 4) == 0 && strcmp((const char *)at + 8, key) == 0) {
            const size_t head = strlen(key) + 1 + (strcmp(type, "iTXt") == 0 ? 4 : 0);
            return strndup((const char *)at + 8 + head, n - head);
        }
        at += n + 12;
    }
    return NULL;
}

static void png_says_how_it_was_made(void **state)
{
    dr_rendition picture =
        encode("\"prompt\":\"a red fox\",\"negative_prompt\":\"blurry\",\"steps\":20,\"seed\":17", 0);
    char *parameters = png_text(&picture, "tEXt", "parameters"),
         *text = png_text(&picture, "tEXt", "darkroom");
    VipsImage *image = decode(&picture); /* the CRCs hold */
    const char *seen;
    json_t *json;
    (void)state;

    assert_string_equal(parameters,
                        "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, "
                        "Seed: 17, Size: 72x64, Model: tiny, Model hash: 0123456789");
    assert_int_equal(vips_image_get_string(image, "png-comment-0-parameters", &seen), 0);
    assert_string_equal(seen, parameters);
    json = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "prompt")), "a red fox");
    assert_int_equal(json_integer_value(json_object_get(json, "seed")), 17);
    assert_null(json_object_get(json, "id"));
    json_decref(json);
    free(parameters);
    free(text);
    g_object_unref(image);
    free(picture.bytes);
}

static void other_scripts_are_utf8_in_png(void **state)
{
    dr_rendition picture = encode("\"prompt\":\"\xe8\xb5\xa4\xe3\x81\x84\xe7\x8b\x90\"", 0);
    char *parameters = png_text(&picture, "iTXt", "parameters");
    VipsImage *image = decode(&picture);
    (void)state;

    assert_non_null(parameters);
    assert_memory_equal(parameters, "\xe8\xb5\xa4\xe3\x81\x84\xe7\x8b\x90\nSteps", 15);
    free(parameters);
    g_object_unref(image);
    free(picture.bytes);
}

/* --- EXIF, read here as the standard says, and not with the writer's code --- */

static uint32_t be(const uint8_t *at, int bytes)
{
    uint32_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* In a big-endian TIFF, the value of a tag of the IFD at `at`: the value itself, or its place in the TIFF. */
static uint32_t tag_value(const uint8_t *tiff, uint32_t at, unsigned tag, uint32_t *count)
{
    for (uint32_t i = 0; i < be(tiff + at, 2); i++) {
        const uint8_t *entry = tiff + at + 2 + 12 * i;
        if (be(entry, 2) == tag) {
            *count = be(entry + 4, 4);
            return be(entry + 8, 4);
        }
    }
    fail_msg("no tag %x", tag);
    return 0;
}

/* UserComment in UTF-16BE, and how many units it has. */
static const uint8_t *user_comment(VipsImage *image, size_t *units)
{
    const void *blob;
    const uint8_t *tiff;
    uint32_t count;
    size_t size;

    assert_int_equal(vips_image_get_blob(image, VIPS_META_EXIF_NAME, &blob, &size), 0);
    tiff = blob;
    if (size > 6 && memcmp(tiff, "Exif\0", 6) == 0)
        tiff += 6, size -= 6;
    assert_memory_equal(tiff, "MM\0*", 4);
    const uint32_t exif = tag_value(tiff, be(tiff + 4, 4), 0x8769, &count);
    const uint32_t at = tag_value(tiff, exif, 0x9286, &count);
    assert_true(at + count <= size);
    assert_memory_equal(tiff + at, "UNICODE", 8);
    *units = (count - 8) / 2;
    return tiff + at + 8;
}

static void jpeg_and_webp_say_how_they_were_made(void **state)
{
    static const char *const formats[] = { "jpeg", "webp" };
    static const uint16_t expected[] = { 0x72d0, ' ', 0xd83e, 0xdd8a, ' ', 'c', 'a', 'f', 0xe9,
                                         ' ',    '<', '&',    '>',    ' ', '"', 'x', '"', '\n',
                                         'S',    't', 'e',    'p',    's', ':', ' ', '5', '0' };
    (void)state;

    for (int i = 0; i < 2; i++) {
        char more[160];
        snprintf(
            more, sizeof(more),
            "\"format\":\"%s\",\"prompt\":\"\\u72d0 \\ud83e\\udd8a caf\\u00e9 <&> \\\"x\\\"\",\"seed\":17",
            formats[i]);
        dr_rendition picture = encode(more, 0);
        VipsImage *image = decode(&picture);
        const void *xmp;
        size_t size, units;
        const uint8_t *comment = user_comment(image, &units);
        assert_true(units > sizeof(expected) / 2);
        for (size_t u = 0; u < sizeof(expected) / 2; u++)
            assert_int_equal(be(comment + 2 * u, 2), expected[u]);
        assert_int_equal(be(comment + 2 * (units - 1), 2),
                         '9'); /* the fingerprint's last digit: all of the text is there */
        assert_int_equal(vips_image_get_blob(image, VIPS_META_XMP_NAME, &xmp, &size), 0);
        char *text = strndup(xmp, size);
        assert_non_null(strstr(text, "caf\xc3\xa9 &lt;&amp;&gt; \\&quot;x\\&quot;"));
        free(text);
        g_object_unref(image);
        free(picture.bytes);
    }
}

/* Programs that read these texts map these names to their own samplers. */
static void samplers_have_the_names_of_others(void **state)
{
    static const char *const names[][2] = {
        { "ddim", "Sampler: DDIM, CFG" },
        { "pndm", "Sampler: PLMS, CFG" },
        { "euler", "Sampler: Euler, CFG" },
        { "euler_a", "Sampler: Euler a, CFG" },
        { "heun", "Sampler: Heun, CFG" },
        { "lms", "Sampler: LMS, CFG" },
        { "unipc", "Sampler: UniPC, CFG" },
        { "lcm", "Sampler: LCM, CFG" },
        { "dpmpp_2m", "Sampler: DPM++ 2M, CFG" },
        { "dpmpp_2m_karras", "Sampler: DPM++ 2M, Schedule type: Karras, CFG" },
        { "dpmpp_sde", "Sampler: DPM++ 2M SDE, CFG" },
        { "ddpm", "Sampler: DDPM, CFG" },
    };
    (void)state;

    assert_int_equal(sizeof(names) / sizeof(names[0]), DR_SAMPLERS - 1);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        dr_job *j = job("\"seed\":1");
        assert_true(dr_sampler_from_name(names[i][0], &j->sampler));
        dr_picture_texts texts;
        assert_int_equal(dr_picture_texts_make(&texts, j, 0, "", NULL), DR_OK);
        if (!strstr(texts.parameters, names[i][1]))
            fail_msg("%s", texts.parameters);
        dr_picture_texts_free(&texts);
        dr_job_free(j);
    }
}

static void the_longest_prompts_fit(void **state)
{
    static const char *const formats[] = { "png", "jpeg", "webp" };
    char *prompt = malloc(DR_PROMPT_BYTES_MAX + 1);
    (void)state;

    memset(prompt, '&', DR_PROMPT_BYTES_MAX); /* five bytes each in XML */
    prompt[DR_PROMPT_BYTES_MAX] = 0;
    for (int i = 0; i < 3; i++) {
        dr_job *j = job("\"seed\":1");
        dr_rendition picture;
        free(j->prompt);
        free(j->negative_prompt);
        j->prompt = strdup(prompt);
        j->negative_prompt = strdup(prompt);
        j->prompt_bytes = j->negative_prompt_bytes = DR_PROMPT_BYTES_MAX;
        for (int f = 0; f < DR_PICTURE_FORMATS; f++)
            if (strcmp(dr_picture_format_name((dr_picture_format)f), formats[i]) == 0)
                j->format = (dr_picture_format)f;
        assert_int_equal(dr_rendition_encode(&picture, j, 0, "", rgb, NULL), DR_OK);
        VipsImage *image = decode(&picture);
        assert_true(mean_difference(image) < 2);
        g_object_unref(image);
        free(picture.bytes);
        dr_job_free(j);
    }
    free(prompt);
}

static void other_loaders_are_blocked(void **state)
{
    static const char svg[] = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"/>";
    static const char ppm[] = "P6 1 1 255\nabc";
    (void)state;

    assert_null(vips_image_new_from_buffer(svg, sizeof(svg) - 1, "", NULL));
    assert_null(vips_image_new_from_buffer(ppm, sizeof(ppm) - 1, "", NULL));
    vips_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_is_exact),
        cmocka_unit_test(jpeg_and_webp_are_close),
        cmocka_unit_test(quality_is_obeyed),
        cmocka_unit_test(the_bytes_depend_on_nothing_else),
        cmocka_unit_test(png_says_how_it_was_made),
        cmocka_unit_test(other_scripts_are_utf8_in_png),
        cmocka_unit_test(samplers_have_the_names_of_others),
        cmocka_unit_test(jpeg_and_webp_say_how_they_were_made),
        cmocka_unit_test(the_longest_prompts_fit),
        cmocka_unit_test(other_loaders_are_blocked),
    };
    int failed;

    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint8_t *p = &rgb[(y * WIDTH + x) * 3];
            p[0] = (uint8_t)(255 * x / WIDTH);
            p[1] = (uint8_t)(255 * y / HEIGHT);
            p[2] = (uint8_t)(255 - p[0]);
        }
    if (dr_pictures_start(NULL))
        return 1;
    failed = cmocka_run_group_tests_name("picture", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
