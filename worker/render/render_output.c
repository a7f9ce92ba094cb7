#include "worker/render/render_output.h"

#include "worker/pictures/contact_sheet.h"
#include "worker/render/results_file.h"
#include "worker/support/files.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dr_render_output {
    const dr_render_target *target; /* borrowed */
    dr_results_file *results;       /* NULL, as the list, where the target is one file */
    dr_render_list *list;
};

static dr_status open_files(dr_render_output *o, const char *models_dir, bool only_look, dr_error *err)
{
    const char *folder = o->target->folder;
    dr_status rc;

    if (o->target->stem)
        return only_look ? DR_OK : dr_folder_make(folder, err);
    rc = only_look ? dr_results_look(&o->results, folder, err) : dr_results_open(&o->results, folder, err);
    return rc ? rc : dr_render_list_open(&o->list, folder, o->results, models_dir, err);
}

static dr_status open_output(dr_render_output **out, const dr_render_target *target, const char *models_dir,
                             bool only_look, dr_error *err)
{
    dr_render_output *o = calloc(1, sizeof(*o));
    dr_status rc;

    *out = NULL;
    if (!o)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", target->folder);
    o->target = target;
    rc = open_files(o, models_dir, only_look, err);
    if (rc) {
        dr_render_output_close(o);
        return rc;
    }
    *out = o;
    return DR_OK;
}

dr_status dr_render_output_open(dr_render_output **out, const dr_render_target *target,
                                const char *models_dir, dr_error *err)
{
    return open_output(out, target, models_dir, false, err);
}

dr_status dr_render_output_look(dr_render_output **out, const dr_render_target *target,
                                const char *models_dir, dr_error *err)
{
    return open_output(out, target, models_dir, true, err);
}

void dr_render_output_close(dr_render_output *output)
{
    if (!output)
        return;
    dr_render_list_close(output->list);
    dr_results_close(output->results);
    free(output);
}

dr_render_list *dr_render_output_list(dr_render_output *output)
{
    return output->list;
}

char *dr_render_output_path(const dr_render_output *output, const char *name)
{
    const char *folder = output->target->folder;

    return strcmp(folder, ".") == 0 ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

/* --- one result ------------------------------------------------------------------------------ */

dr_status dr_render_output_write_pictures(const dr_render_output *output, const dr_result *result,
                                          dr_render_files *files, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; i < result->pictures && !rc; i++) {
        dr_render_target_name(output->target, files->name[i], result->job, i);
        char *path = g_build_filename(output->target->folder, files->name[i], NULL);
        rc = dr_file_write(path, result->picture[i].bytes, result->picture[i].size, err);
        g_free(path);
    }
    return rc;
}

dr_status dr_render_output_write_line(dr_render_output *output, const dr_result *result,
                                      const dr_render_files *files, dr_error *err)
{
    const char *names[DR_IMAGES_MAX];
    dr_status rc;
    char *line;

    if (!output->results)
        return DR_OK;
    for (int i = 0; i < DR_IMAGES_MAX; i++)
        names[i] = files->name[i];
    line = dr_result_json(result, names);
    if (!line)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory for its line", result->job->id);
    rc = dr_results_append(output->results, result->job->id, result->error.status == DR_OK, line, err);
    free(line);
    return rc;
}

dr_status dr_render_output_compact(dr_render_output *output, dr_error *err)
{
    return output->results ? dr_results_compact(output->results, err) : DR_OK;
}

/* --- the contact sheet ------------------------------------------------------------------------- */

static dr_sheet_picture sheet_picture(const dr_render_output *output, const dr_render_entry *e, int image)
{
    const dr_job job = { .id = e->id, .images = e->images, .format = e->format };
    char name[DR_PICTURE_NAME_MAX];

    dr_picture_file_name(name, &job, image);
    return (dr_sheet_picture){ .path = g_build_filename(output->target->folder, name, NULL),
                               .label = e->label,
                               .id = e->id,
                               .seed = e->seed + (uint64_t)image };
}

/* The pictures of all jobs that are done; *count of them, whose paths free_pictures() frees.  NULL: no
 * memory. */
static dr_sheet_picture *list_pictures(const dr_render_output *output, int *count)
{
    const dr_render_entry *e;
    dr_sheet_picture *picture;
    int most = 0;

    for (long i = 0; (e = dr_render_list_at(output->list, i)); i++)
        most += e->done ? e->images : 0;
    picture = calloc((size_t)most + 1, sizeof(*picture));
    *count = 0;
    for (long i = 0; picture && (e = dr_render_list_at(output->list, i)); i++)
        for (int image = 0; e->done && image < e->images; image++)
            picture[(*count)++] = sheet_picture(output, e, image);
    return picture;
}

static void free_pictures(dr_sheet_picture *picture, int count)
{
    for (int i = 0; i < count; i++)
        g_free((char *)(uintptr_t)picture[i].path);
    free(picture);
}

dr_status dr_render_output_write_sheet(dr_render_output *output, dr_error *err)
{
    dr_sheet_picture *picture;
    dr_sheet_pages pages;
    dr_status rc = DR_OK;
    char text[512];
    int count;

    dr_assert(output->list); /* a target that is one file has no sheet */
    picture = list_pictures(output, &count);
    if (!picture)
        return dr_fail(err, DR_ENOMEM, "no memory for the contact sheet");
    if (count > 0) {
        rc = dr_contact_sheet_write(output->target->folder, picture, count, &pages, err);
        if (!rc) {
            dr_contact_sheet_text(text, sizeof(text), output->target->folder, &pages);
            fputs(text, stderr);
        }
    }
    free_pictures(picture, count);
    return rc;
}
