/* config_cases.h - what the tests of model/config.h share: a folder for files, and configs that must be
 * refused. */
#ifndef DR_TESTS_MODEL_CONFIG_CASES_H
#define DR_TESTS_MODEL_CONFIG_CASES_H

#include "model/config.h"

#include "tests/model/sampler_file.h"
#include "tests/support/temp_folder.h"

TEMP_FOLDER_OF_GROUP(folder)

static inline void assert_mentions(const dr_error *err, const char *text)
{
    if (!strstr(err->text, text))
        fail_msg("\"%s\" does not mention \"%s\"", err->text, text);
}

/* Write a file into the folder.  Returns its path, valid until the next call. */
static inline const char *write_text(const char *name, const char *text)
{
    return temp_write(&folder, name, text, strlen(text));
}

/* --- configs that must be refused: each reader takes the path of a file ---------------------- */

typedef dr_status reader(const char *path, dr_error *err);

static inline dr_status read_unet(const char *path, dr_error *err)
{
    dr_unet_config c;

    return dr_unet_config_read(&c, path, err);
}

static inline dr_status read_vae(const char *path, dr_error *err)
{
    dr_vae_config c;

    return dr_vae_config_read(&c, path, err);
}

static inline dr_status read_text_encoder(const char *path, dr_error *err)
{
    dr_text_encoder_config c;

    return dr_text_encoder_config_read(&c, path, err);
}

static inline dr_status read_sampler(const char *path, dr_error *err)
{
    dr_sampler_config c;

    return sampler_file_read(&c, path, err);
}

typedef struct bad_config {
    const char *text;     /* of the file */
    dr_status status;     /* with which it is refused */
    const char *mentions; /* a part of the error's text */
} bad_config;

static inline void refuse_all(reader *read, const bad_config *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *path = write_text("config.json", cases[i].text);
        dr_error err = { 0 };
        if (read(path, &err) != cases[i].status)
            fail_msg("%s: \"%s\" instead of %s", cases[i].text, err.text, dr_status_name(cases[i].status));
        assert_mentions(&err, path);
        assert_mentions(&err, cases[i].mentions);
    }
}

#endif
