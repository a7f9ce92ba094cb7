/* render_list.h - the jobs of a jobs file, and which of them an earlier render has done.
 *
 *     jobs.jsonl    {"id":"fox","model":"sd15","prompt":"a red fox"}     a line gives an entry
 *     results.jsonl {"id":"fox","state":"succeeded","job":{...},"pictures":[{"file":"fox.png","sha256":...}]}
 *
 * A job is done when its last line in results.jsonl says so, and when three things are as that line has
 * them: the fields of the job, the weights of its model, and the bytes of its pictures' files.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RENDER_LIST_H
#define DR_WORKER_RENDER_RENDER_LIST_H

#include "worker/jobs/job.h"
#include "worker/render/results_file.h"

typedef struct dr_render_entry {
    long line;        /* in the jobs file, from 1 */
    bool done;        /* its pictures are in the folder */
    char *id, *label; /* for the contact sheet */
    uint64_t seed;    /* of the first picture */
    int images;
    dr_picture_format format;
} dr_render_entry;

typedef struct dr_render_list dr_render_list;

/* A list for that folder, empty at first.  results are the folder's, and borrowed; NULL: it has none.
 * models_dir is as dr_render_models_open() takes it, and borrowed.  On success *out is the caller's; on
 * failure it is NULL.  DR_ENOMEM. */
dr_status dr_render_list_open(dr_render_list **out, const char *out_folder, const dr_results_file *results,
                              const char *models_dir, dr_error *err);
void dr_render_list_close(dr_render_list *list); /* NULL is allowed */

/* Whether an earlier render has done this job.  *note is as dr_render_models_match() gives it. */
bool dr_render_list_was_done(dr_render_list *list, const dr_job *job, const char **note);

/* Add an entry for this job.  `line` is greater than those of all entries.  DR_EINVAL: its id was there
 * before, or is the contact sheet's name.  DR_ENOMEM. */
dr_status dr_render_list_add(dr_render_list *list, const dr_job *job, long line, dr_error *err);

/* The line of the job with this id; 0: there is none. */
long dr_render_list_line(const dr_render_list *list, const char *id);

/* The job on that line is done.  It is in the list, and was not done before. */
void dr_render_list_mark_done(dr_render_list *list, long line);
/* The entry at that place in the order of lines, from 0; NULL past the end. */
const dr_render_entry *dr_render_list_at(const dr_render_list *list, long index);

#endif
