/* render_dry.h - `darkroom render --dry-run`: say what would be drawn and what is wrong, and write nothing.
 *
 *     prompts.jsonl:4: steps: 0; allowed: 1..150                            on stderr
 *     tiny, 128x128, 20 steps: 7 pictures of 5 jobs                         on stdout
 *     6 jobs: 7 pictures to draw, 0 done before, 1 wrong; nothing was drawn */
#ifndef DR_WORKER_RENDER_RENDER_DRY_H
#define DR_WORKER_RENDER_RENDER_DRY_H

#include "worker/render/render_jobs.h"
#include "worker/render/render_list.h"
#include "worker/settings/config.h"

/* Read all jobs, and report on each.  list: the folder's; NULL where the target is one file.  *wrong
 * counts the jobs that could not be drawn.  DR_EIO: the jobs can't be read any further. */
dr_status dr_render_dry_run(dr_render_jobs *jobs, dr_render_list *list, const dr_config *config, long *wrong,
                            dr_error *err);

#endif
