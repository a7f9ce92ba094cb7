/* render_list.h - the jobs of a jobs file, and which of them an earlier run has done.
 *
 *     jobs.jsonl    {"id":"fox","model":"sd15","prompt":"a red fox"}     a line, an entry
 *     results.jsonl {"id":"fox","state":"succeeded","job":{...},"pictures":[{"file":"fox.png","sha256":...}]}
 *
 * Done is a job whose last line in results.jsonl succeeded with the very fields that the jobs file has
 * now and with the weights that its model has now, and whose files are there with the bytes that the line tells.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RENDER_LIST_H
#define DR_WORKER_RENDER_RENDER_LIST_H

#include "worker/jobs/job.h"
#include "worker/render/results_file.h"

typedef struct dr_render_entry {
    long line;        /* in the jobs file, from 1 */
    bool done;        /* its pictures are in OUT */
    char *id, *label; /* for the contact sheet */
    uint64_t seed;    /* of the first picture */
    int images;
    dr_picture_format format;
} dr_render_entry;

typedef struct dr_render_list dr_render_list;

/* results: of that folder; borrowed.  NULL: there are none.  models_dir, borrowed: as dr_render_models_open() takes it. */
dr_status dr_render_list_open(dr_render_list **out, const char *out_folder, const dr_results_file *results,
                              const char *models_dir, dr_error *err);
void dr_render_list_close(dr_render_list *list); /* NULL is allowed */

/* Whether an earlier run has done this job.  *note: as of dr_render_models_match(). */
bool dr_render_list_was_done(dr_render_list *list, const dr_job *job, const char **note);

/* A new entry for this job, which stands after all others.  DR_EINVAL where its id was there before, or
 * is a name that render itself uses; DR_ENOMEM. */
dr_status dr_render_list_add(dr_render_list *list, const dr_job *job, long line, dr_error *err);

/* The line that this id is on; 0: none. */
long dr_render_list_line(const dr_render_list *list, const char *id);

/* NULL: the line has none. */
dr_render_entry *dr_render_list_find(dr_render_list *list, long line);
/* In order of lines; NULL past the end. */
const dr_render_entry *dr_render_list_at(const dr_render_list *list, long index);

#endif
