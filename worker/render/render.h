/* render.h - jobs in, pictures out, without Kafka: what `darkroom render` does.
 *
 *     dr_render_jobs -> [refused?] -> [done before?] -> dr_pipeline -> dr_render_output
 *                            |              |                              |
 *                            +--------------+------------------------------+-> dr_render_report
 *
 *     open      reads the output's folder
 *     start     opens the device
 *     draw      draws all jobs; what fails is said and counted
 *     end       tidies results.jsonl up, makes the contact sheet, says how it ended
 *
 * Threads: all calls from one thread. */
#ifndef DR_WORKER_RENDER_RENDER_H
#define DR_WORKER_RENDER_RENDER_H

#include "worker/pipeline/pipeline.h"
#include "worker/render/render_jobs.h"
#include "worker/render/render_target.h"

#include <signal.h>

typedef struct dr_render dr_render;

/* Everything that is pointed to is borrowed until dr_render_close(). */
typedef struct dr_render_options {
    dr_render_jobs *jobs;
    const dr_render_target *target;
    const char *models_dir;                   /* as dr_render_list_open() takes it */
    dr_pipeline_options pipeline;             /* all but on_result, on_event and arg */
    bool one_job;                             /* of flags: each picture is said, and there is no sheet */
    bool sheet;                               /* make a contact sheet */
    const volatile sig_atomic_t *interrupted; /* not 0: stop soon; what is done is kept */
} dr_render_options;

/* dr_pictures_start() comes before it.  On success *out is the caller's; on failure it is NULL, and err is as
 * dr_render_output_open() says. */
dr_status dr_render_open(dr_render **out, const dr_render_options *options, dr_error *err);
void dr_render_close(dr_render *r); /* NULL is allowed */

/* Errors as of dr_pipeline_start(): DR_EINVAL where the options name no device, DR_EDEVICE where it can't
 * be had. */
dr_status dr_render_start(dr_render *r, dr_error *err);

/* Once, after dr_render_start().  Returns when all jobs are drawn or refused, at an interrupt, or when it
 * is no use to go on (dr_render_end() says why).  DR_EIO: the jobs can't be read any further. */
dr_status dr_render_draw(dr_render *r, dr_error *err);

/* Once, after a dr_render_draw() that succeeded.  Fails with the reason for which not all jobs were tried
 * (a lost device, a file that can't be written, memory that lacks), or with what went wrong here.  A job
 * that failed is no error here. */
dr_status dr_render_end(dr_render *r, dr_error *err);

/* Jobs that failed; after dr_render_draw(). */
long dr_render_failed(const dr_render *r);

#endif
