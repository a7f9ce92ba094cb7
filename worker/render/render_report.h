/* render_report.h - what a render says on stderr while it draws: lines about jobs, the bar below them, and
 * how it ended.
 *
 *     prompts.jsonl:3: width: 0; allowed: a multiple of 8 from 64 to 2048
 *     [=====>    ] 120/200, step 7/30, 3.4 pictures/s, 0:24 left, 1 failed         the bar, drawn anew
 *     198 done, 1 done before, 1 failed; 198 pictures in 58.2 s, 3.4 pictures/s    the last line
 *
 * Threads: all calls under one lock of the caller. */
#ifndef DR_WORKER_RENDER_RENDER_REPORT_H
#define DR_WORKER_RENDER_RENDER_REPORT_H

#include "worker/jobs/result.h"
#include "worker/render/progress.h"
#include "worker/render/render_jobs.h"
#include "worker/render/render_output.h"

typedef struct dr_render_report {
    const dr_render_jobs *jobs; /* borrowed: it knows what stands before a line about a job */
    bool one_job;               /* of flags: its user wants to know the picture, not a count */
    dr_progress_bar bar;
    dr_progress_state progress; /* the caller counts in it */
    double start_s;             /* by dr_clock_s() */
} dr_render_report;

/* Time begins.  Borrows jobs. */
void dr_render_report_begin(dr_render_report *report, const dr_render_jobs *jobs, bool one_job);

/* A line about the job on that line of the jobs file. */
void dr_render_report_job(dr_render_report *report, long line, const char *what);
/* A line about no job. */
void dr_render_report_note(dr_render_report *report, const char *note);
/* A line for each picture: its path, size and seed. */
void dr_render_report_pictures(dr_render_report *report, const dr_render_output *output,
                               const dr_result *result, const dr_render_files *files);

/* Draw the bar anew, if it is time to.  `running`: jobs of the batch that is being drawn. */
void dr_render_report_bar(dr_render_report *report, unsigned running);

/* Time ends, and the bar goes. */
void dr_render_report_stop(dr_render_report *report);
/* How many jobs were drawn, and how fast.  Nothing where the only job failed: why it did has been said. */
void dr_render_report_end(const dr_render_report *report, bool interrupted);

#endif
