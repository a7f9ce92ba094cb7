#include "worker/render/render_target.h"

#include "worker/jobs/result.h"
#include "worker/support/files.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Suffixes of pictures.  A format that we don't write is refused: its name must not become a folder. */
static const struct {
    const char *suffix;
    int format; /* -1: we don't write it */
} suffixes[] = {
    { ".png", DR_PNG }, { ".jpg", DR_JPEG }, { ".jpeg", DR_JPEG }, { ".webp", DR_WEBP },
    { ".gif", -1 },     { ".bmp", -1 },      { ".tif", -1 },       { ".tiff", -1 },
    { ".avif", -1 },    { ".heic", -1 },     { ".jxl", -1 },
};

static int find_suffix(const char *suffix)
{
    for (size_t i = 0; suffix && i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (strcasecmp(suffixes[i].suffix, suffix) == 0)
            return (int)i;
    return -1;
}

dr_status dr_render_target_parse(dr_render_target *out, const char *path, bool one_job, dr_error *err)
{
    char *name = g_path_get_basename(path), *suffix = strrchr(name, '.');
    const bool folder = g_str_has_suffix(path, G_DIR_SEPARATOR_S) || dr_folder_exists(path);
    const int row = folder ? -1 : find_suffix(suffix);
    dr_status rc = DR_OK;

    *out = (dr_render_target){ .folder = row < 0 ? g_strdup(path) : g_path_get_dirname(path) };
    if (row >= 0 && !one_job) {
        rc = dr_fail(err, DR_EINVAL, "--out %s: the pictures of --jobs go into a folder", path);
    } else if (row >= 0 && suffixes[row].format < 0) {
        rc = dr_fail(err, DR_EINVAL, "--out %s: pictures are written as .png, .jpg and .webp", path);
    } else if (row >= 0 && strlen(name) > DR_TARGET_NAME_MAX - 16) {
        rc = dr_fail(err, DR_EINVAL, "--out %s: the name is too long", path);
    } else if (row >= 0) {
        out->suffix = g_strdup(suffix);
        *suffix = 0;
        out->stem = g_strdup(name);
        out->format = (dr_picture_format)suffixes[row].format;
    }
    g_free(name);
    return rc;
}

void dr_render_target_free(dr_render_target *target)
{
    g_free(target->folder);
    g_free(target->stem);
    g_free(target->suffix);
    *target = (dr_render_target){ 0 };
}

void dr_render_target_name(const dr_render_target *target, char name[DR_TARGET_NAME_MAX], const dr_job *job,
                           int image)
{
    if (!target->stem)
        dr_picture_file_name(name, job, image);
    else if (job->images == 1)
        snprintf(name, DR_TARGET_NAME_MAX, "%s%s", target->stem, target->suffix);
    else
        snprintf(name, DR_TARGET_NAME_MAX, "%s@%d%s", target->stem, image, target->suffix);
}
