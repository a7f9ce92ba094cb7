/* jobs_file.h - a file of jobs, read one by one: JSON Lines, CSV where its name ends in .csv or .tsv, or prompts where it
 * ends in .txt; in capitals too.
 *
 *     {"id":"fox","model":"sd15","prompt":"a red fox"}          a line, a job; blank lines are passed
 *
 *     id,model,prompt                                           the first row names fields
 *     fox,sd15,"a red fox, in ""snow"""                         a row, a job; an empty cell says nothing
 *
 *     a red fox, in the snow                                    a line, a job with this prompt; defaults say the rest
 *
 * worker/support/text_file.h says which encodings are read, and worker/render/csv.h which forms of CSV.  A job that can't be one is told
 * with its line and stops nothing; what is read is a job, or a fault that is told: nothing is passed over but what is
 * empty.  One thread. */
#ifndef DR_WORKER_RENDER_JOBS_FILE_H
#define DR_WORKER_RENDER_JOBS_FILE_H

#include "worker/jobs/job.h"

typedef struct dr_jobs_file dr_jobs_file;

/* What stands at one place of the file.  rc and job as dr_job_parse() gives them, but that job is never
 * NULL without DR_ENOMEM: of a line that is no job it has the fallback id and nothing else. */
typedef struct dr_jobs_entry {
    long line, last_line; /* from 1; the same but of a row of several lines */
    dr_status rc;
    dr_job *job; /* the caller's */
    dr_refusal refusal;
    dr_error err;
    char fallback_id[48]; /* prefix and line: the id of a job that names none */
} dr_jobs_entry;

/* path "-": standard input, as JSON Lines.  id_prefix: of fallback ids, "line-" gives line-000017; borrowed.
 * DR_EINVAL: a CSV file whose first row names no fields of a job.  DR_ENOTFOUND, DR_EIO: it can't be read. */
dr_status dr_jobs_file_open(dr_jobs_file **out, const char *path, const char *id_prefix, dr_error *err);
void dr_jobs_file_close(dr_jobs_file *file); /* NULL is allowed */

/* What jobs are given that do not say it themselves; borrowed.  Before the first dr_jobs_file_next(). */
void dr_jobs_file_set_defaults(dr_jobs_file *file, const dr_job *defaults);

/* What messages call the file of that path: the path, or "standard input". */
const char *dr_jobs_file_name(const char *path);

/* Whether it says nothing of a job but its prompt. */
bool dr_jobs_file_has_prompts(const dr_jobs_file *file);

/* Jobs in the whole file; 0 where nobody can know (a pipe). */
long dr_jobs_file_count(const dr_jobs_file *file);

/* False at the end of the file, or where it can't be read any further: dr_jobs_file_status() tells which. */
bool dr_jobs_file_next(dr_jobs_file *file, dr_jobs_entry *entry);
dr_status dr_jobs_file_status(const dr_jobs_file *file, dr_error *err);

#endif
