/* render_jobs.h - the jobs of a render: those of a file, or the one that flags say.
 *
 * A job of flags without an id is named by its file (--out fox.png: fox), else by its prompt and a hash of all that was said:
 * the same flags give the same picture in the same file. */
#ifndef DR_WORKER_RENDER_RENDER_JOBS_H
#define DR_WORKER_RENDER_RENDER_JOBS_H

#include "worker/render/jobs_file.h"
#include "worker/render/render_target.h"

typedef struct dr_render_jobs dr_render_jobs;

/* What was said on the command line.  The strings and defaults are borrowed until dr_render_jobs_close(). */
typedef struct dr_render_jobs_options {
    const char *path;       /* of the file of jobs; "": the job comes from flags */
    const char *models;     /* the models directory, for messages */
    dr_job *job;            /* of flags; dr_render_jobs_open() takes it, also on failure */
    const dr_job *defaults; /* what a job of the file has where its line says nothing */
} dr_render_jobs_options;

/* On success *out is the caller's.  DR_EINVAL: flags that make no job. */
dr_status dr_render_jobs_open(dr_render_jobs **out, const dr_render_jobs_options *options,
                              const dr_render_target *target, dr_error *err);
void dr_render_jobs_close(dr_render_jobs *jobs); /* NULL is allowed */

long dr_render_jobs_count(const dr_render_jobs *jobs); /* 0: not known */
/* As dr_jobs_file_next() and dr_jobs_file_status(). */
bool dr_render_jobs_next(dr_render_jobs *jobs, dr_jobs_entry *entry);
dr_status dr_render_jobs_status(const dr_render_jobs *jobs, dr_error *err);

/* "prompts.jsonl:3: ", or of flags "darkroom render: ": what stands before a message about a job. */
enum { DR_RENDER_WHERE_MAX = 4200 };
void dr_render_jobs_where(const dr_render_jobs *jobs, char where[DR_RENDER_WHERE_MAX], long line);

#endif
