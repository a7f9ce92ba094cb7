/* render_jobs.h - the jobs of a render: those of a file, or the one that flags say.
 *
 * A job of flags that has no id is named by its file: --out fox.png gives "fox".  With a folder it is
 * named by its prompt and a hash of all flags, so that the same flags give the same picture in the same
 * file.
 *
 * Threads: one at a time. */
#ifndef DR_WORKER_RENDER_RENDER_JOBS_H
#define DR_WORKER_RENDER_RENDER_JOBS_H

#include "worker/render/jobs_file.h"
#include "worker/render/render_target.h"

typedef struct dr_render_jobs dr_render_jobs;

/* What was asked for on the command line.  Strings and defaults are borrowed until dr_render_jobs_close(). */
typedef struct dr_render_jobs_options {
    const char *path;       /* the file of jobs; "": the job comes from flags */
    const char *models;     /* the folder of models, for messages */
    dr_job *job;            /* of flags; dr_render_jobs_open() takes it, also on failure */
    const dr_job *defaults; /* fields for all jobs of the file that do not have them */
} dr_render_jobs_options;

/* On success *out is the caller's; on failure it is NULL.  DR_EINVAL: the flags make no job.  Else as
 * dr_jobs_file_open(). */
dr_status dr_render_jobs_open(dr_render_jobs **out, const dr_render_jobs_options *options,
                              const dr_render_target *target, dr_error *err);
void dr_render_jobs_close(dr_render_jobs *jobs); /* NULL is allowed */

/* Jobs in all; 0: not known. */
long dr_render_jobs_count(const dr_render_jobs *jobs);
/* As dr_jobs_file_next() and dr_jobs_file_status(). */
bool dr_render_jobs_next(dr_render_jobs *jobs, dr_jobs_entry *entry);
dr_status dr_render_jobs_status(const dr_render_jobs *jobs, dr_error *err);

/* What stands before a message about the job of that line: "prompts.jsonl:3: ", or "darkroom render: " for
 * flags. */
enum { DR_RENDER_WHERE_MAX = 4200 };
void dr_render_jobs_where(const dr_render_jobs *jobs, char where[DR_RENDER_WHERE_MAX], long line);

#endif
