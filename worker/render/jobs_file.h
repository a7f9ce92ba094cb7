/* jobs_file.h - a file of jobs, read one by one.  It is CSV where its name ends in .csv or .tsv, prompts
 * where its name ends in .txt, and JSON Lines otherwise.  The endings may be in capitals.
 *
 *     {"id":"fox","model":"sd15","prompt":"a red fox"}          a line is a job; blank lines are skipped
 *
 *     id,model,prompt                                           the first row names fields
 *     fox,sd15,"a red fox, in ""snow"""                         a row is a job; an empty cell says nothing
 *
 *     a red fox, in the snow                                    a line is a prompt; defaults are the rest
 *
 * worker/support/text_file.h says which encodings are read, and worker/render/csv.h which forms of CSV.
 * What is read is a job, or a fault that is reported with its line.  A fault stops nothing.  Only empty
 * lines are skipped.
 *
 * Threads: one at a time. */
#ifndef DR_WORKER_RENDER_JOBS_FILE_H
#define DR_WORKER_RENDER_JOBS_FILE_H

#include "worker/jobs/job.h"

typedef struct dr_jobs_file dr_jobs_file;

/* What stands at one place of the file.  rc and job are as dr_job_parse() gives them, with one difference:
 * job is NULL only with DR_ENOMEM.  For a line that is no job it has the fallback id and nothing else. */
typedef struct dr_jobs_entry {
    long line, last_line; /* from 1; they differ where a row of CSV has several lines */
    dr_status rc;
    dr_job *job; /* owned by whoever has the entry */
    dr_refusal refusal;
    dr_error err;
    char fallback_id[48]; /* prefix and line: the id of a job that has none */
} dr_jobs_entry;

/* Open the file of that path; "-" is standard input, as JSON Lines.  A fallback id is id_prefix and the
 * line's number: "line-" gives "line-000017".  Borrows path and id_prefix.  On success *out is the
 * caller's; on failure it is NULL. DR_EINVAL: the first row of a CSV file names no fields of a job.
 * DR_ENOTFOUND, DR_EIO: the file can't be read. */
dr_status dr_jobs_file_open(dr_jobs_file **out, const char *path, const char *id_prefix, dr_error *err);
void dr_jobs_file_close(dr_jobs_file *file); /* NULL is allowed */

/* Fields for all jobs that do not have them.  Borrowed until the file is closed.  To be called before the
 * first dr_jobs_file_next(). */
void dr_jobs_file_set_defaults(dr_jobs_file *file, const dr_job *defaults);

/* What messages call the file of that path: the path, or "standard input". */
const char *dr_jobs_file_name(const char *path);

/* Whether the file has prompts, and no other field of a job. */
bool dr_jobs_file_has_prompts(const dr_jobs_file *file);

/* Jobs in the whole file; 0 where that can't be known: a pipe. */
long dr_jobs_file_count(const dr_jobs_file *file);

/* Read the next job; the entry's job is the caller's then.  False at the end of the file, or where it
 * can't be read any further: dr_jobs_file_status() says which. */
bool dr_jobs_file_next(dr_jobs_file *file, dr_jobs_entry *entry);
/* DR_OK, or why the file can't be read any further.  err may be NULL. */
dr_status dr_jobs_file_status(const dr_jobs_file *file, dr_error *err);

#endif
