/* render_target.h - where the pictures of a render go: into the folder that --out names, or for one job
 * into that file.
 *
 *     --out pictures    pictures/fox.png, pictures/results.jsonl, ...      named by the job's id
 *     --out a/fox.jpg   a/fox.jpg, or a/fox@0.jpg ... of several images     and nothing else */
#ifndef DR_WORKER_RENDER_RENDER_TARGET_H
#define DR_WORKER_RENDER_RENDER_TARGET_H

#include "worker/jobs/job.h"

enum { DR_TARGET_NAME_MAX = 256 }; /* file systems allow no longer name */

typedef struct dr_render_target {
    char *folder;
    char *stem, *suffix;      /* "fox", ".jpg"; both NULL: a folder */
    dr_picture_format format; /* the suffix means this one */
} dr_render_target;

/* What --out means.  one_job: there is one job, so that a file will do.  A folder that exists is a folder,
 * whatever its name.  DR_EINVAL: a file of a format that is not written, or a file for many jobs.  *out is
 * to be ended with dr_render_target_free() in any case. */
dr_status dr_render_target_parse(dr_render_target *out, const char *path, bool one_job, dr_error *err);
void dr_render_target_free(dr_render_target *target);

/* The name of a picture's file, below the folder. */
void dr_render_target_name(const dr_render_target *target, char name[DR_TARGET_NAME_MAX], const dr_job *job,
                           int image);

#endif
