/* render_target.h - where the pictures of a render go: into a folder, or, of one job, into the file that --out names.
 *
 *     --out pictures    pictures/fox.png, pictures/results.jsonl, ...      named by the job's id
 *     --out a/fox.jpg   a/fox.jpg, or a/fox@0.jpg ... of several images     and nothing else */
#ifndef DR_WORKER_RENDER_RENDER_TARGET_H
#define DR_WORKER_RENDER_RENDER_TARGET_H

#include "worker/jobs/job.h"

enum { DR_TARGET_NAME_MAX = 256 }; /* what file systems allow */

typedef struct dr_render_target {
    char *folder;
    char *stem, *suffix;      /* "fox", ".jpg"; NULL: a folder */
    dr_picture_format format; /* that the suffix means */
} dr_render_target;

/* one_job: from flags, so that a file will do.  DR_EINVAL: a file of a form that is not written, or for many jobs.
 * A folder that is there is one, whatever its name.  To be freed in any case. */
dr_status dr_render_target_parse(dr_render_target *out, const char *path, bool one_job, dr_error *err);
void dr_render_target_free(dr_render_target *target);

/* What a picture's file is called, below the folder. */
void dr_render_target_name(const dr_render_target *target, char name[DR_TARGET_NAME_MAX], const dr_job *job,
                           int image);

#endif
