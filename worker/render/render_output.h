/* render_output.h - what a render leaves on the disk.
 *
 *     --out pictures    pictures/fox.png ..., pictures/results.jsonl, pictures/contact-sheet.png ...
 *     --out fox.png     fox.png, or fox@0.png ... of several images, and nothing else
 *
 * A job's pictures are on the disk before its line in results.jsonl is.  So a render that was ended in any
 * way can go on: a job that has no line, or whose pictures are not those of its line, is drawn again.
 *
 * Threads: dr_render_output_write_pictures() from any thread; all other calls under one lock of the
 * caller. */
#ifndef DR_WORKER_RENDER_RENDER_OUTPUT_H
#define DR_WORKER_RENDER_RENDER_OUTPUT_H

#include "worker/jobs/result.h"
#include "worker/render/render_list.h"
#include "worker/render/render_target.h"

typedef struct dr_render_output dr_render_output;

/* The names of one job's pictures, below the target's folder. */
typedef struct dr_render_files {
    char name[DR_IMAGES_MAX][DR_TARGET_NAME_MAX];
} dr_render_files;

/* Make the folder where it is not there, and read its results.jsonl.  Borrows target and models_dir until
 * it is closed; models_dir is as dr_render_list_open() takes it.  On success *out is the caller's; on
 * failure it is NULL, and err is as dr_results_open() says: retriable where another process writes into
 * the folder. */
dr_status dr_render_output_open(dr_render_output **out, const dr_render_target *target,
                                const char *models_dir, dr_error *err);
/* The same, only to be looked at: nothing is made, locked or changed, and nothing may be written. */
dr_status dr_render_output_look(dr_render_output **out, const dr_render_target *target,
                                const char *models_dir, dr_error *err);
void dr_render_output_close(dr_render_output *output); /* NULL is allowed */

/* The jobs so far, and which of them are done.  The output's own; NULL where the target is one file. */
dr_render_list *dr_render_output_list(dr_render_output *output);

/* Write the pictures of a result, none of one that failed, and give their names.  DR_EIO: a file can't be
 * written. */
dr_status dr_render_output_write_pictures(const dr_render_output *output, const dr_result *result,
                                          dr_render_files *files, dr_error *err);
/* Add the result's line to results.jsonl; where the target is one file there is none, and nothing is done.
 * `files` are the names that dr_render_output_write_pictures() gave. */
dr_status dr_render_output_write_line(dr_render_output *output, const dr_result *result,
                                      const dr_render_files *files, dr_error *err);

/* Throw lines of results.jsonl away that no longer count.  After it no line can be written. */
dr_status dr_render_output_compact(dr_render_output *output, dr_error *err);

/* Make the contact sheet of all jobs that are done, and say on stderr where it is.  No job is done: no
 * sheet.  DR_EIO: a picture can't be read, or the sheet not be written. */
dr_status dr_render_output_write_sheet(dr_render_output *output, dr_error *err);

/* The path of a file of that name, as a user would write it; to be freed with g_free(). */
char *dr_render_output_path(const dr_render_output *output, const char *name);

#endif
