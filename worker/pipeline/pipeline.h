/* pipeline.h - from accepted jobs to finished results.
 *
 *     submit -> [scheduler] -> denoise thread -> [finishing] -> finish threads -> on_result
 *                              owns the device                  libvips encodes
 *
 * Kafka (cmd_worker), files (render) and the demo all feed it and all take results from it; it
 * knows none of them.  jobs_max bounds the jobs inside, wherever they are; where there is no room submit says
 * so instead of growing.  Pixels waiting to be encoded are bounded too: then the device waits.
 *
 * Every accepted job ends in exactly one result, unless the pipeline is stopped first.  A job that
 * fails (in prepare, in the batch, by a cancel or its deadline) never fails its neighbours: where a whole
 * batch fails, each of its jobs is tried once more alone.  A job that has failed has its result at the next step, not when its
 * batch ends.  Where the device is lost (DR_EDEVICE), every job inside, and
 * every one that still comes, ends with that status, for nobody here can do them.  Those of the batch that ran then, and of
 * the one before whose pictures were still under way, have device_lost in their results: one of them may be the reason.
 * A job with device_losses shares the device with nobody, so that the next time it is known.
 *
 * Put aside, out of everybody's way, at most DR_ASIDE_JOBS_MAX of them:
 *
 *     a job whose model is not there      until it is, at most model_wait_s; not one of jobs_max meanwhile
 *     a job that failed for a shortage    (DR_ENOMEM) for shortage_ms, then twice that, then four times, and is run again:
 *                                         only what lasts is its answer
 *
 * A cancel and a deadline end it there too.  Who drains does not wait for models: those jobs are left without a result.
 *
 * Threads: all calls from any, but start and stop from one. */
#ifndef DR_WORKER_PIPELINE_PIPELINE_H
#define DR_WORKER_PIPELINE_PIPELINE_H

#include "worker/engine/engine.h"
#include "worker/jobs/result.h"

typedef struct dr_pipeline dr_pipeline;

typedef enum dr_event_kind {
    DR_EVENT_QUEUED,
    DR_EVENT_STARTED,
    DR_EVENT_STEP,
    DR_EVENT_FINISHED
} dr_event_kind;

typedef struct dr_job_event {
    dr_event_kind kind;
    const dr_job *job; /* borrowed for the call; see its report_events */
    int step, steps;   /* STEP: steps done, of all */
    int batch_samples; /* STARTED, STEP */
} dr_job_event;

typedef struct dr_pipeline_options {
    dr_engine_options engine;
    int finish_threads; /* encoders; 0: half of dr_cores(), at least 1, and the others while works wait */
    int jobs_max;       /* accepted and neither given to on_result nor waiting for a model; at least 1 */
    int model_wait_s;   /* a job waits so long for a model that is not there, then it fails */
    int shortage_ms;    /* before a job that failed for a shortage is run again, then twice that; 0: 1000 */
    /* Called from a finishing thread; takes the result.  It may block: that is how a slow publisher
     * slows the device.  Whoever stops the pipeline first makes sure that it does not block for good. */
    void (*on_result)(void *arg, dr_result *result);
    /* NULL: none.  For every job, STEP at most every 500 ms; from any thread; must not block, nor
     * call the pipeline. */
    void (*on_event)(void *arg, const dr_job_event *event);
    void *arg;
} dr_pipeline_options;

/* Opens the engine (on its own thread) and starts the threads.  dr_pictures_start() comes first. */
dr_status dr_pipeline_start(dr_pipeline **out, const dr_pipeline_options *options, dr_error *err);

/* Hand over a complete job.  False: no room now (job stays the caller's). */
bool dr_pipeline_submit(dr_pipeline *p, dr_job *job);
/* Wait until there may be room; false after timeout_ms. */
bool dr_pipeline_wait_room(dr_pipeline *p, int timeout_ms);

/* Jobs of that id that were sent until then (Unix time; those whose time is not known were) end with DR_ECANCELED: a waiting
 * one at once, a running one at the next step; its neighbours go on without it.  Unknown ids are ignored. */
void dr_pipeline_cancel(dr_pipeline *p, const char *job_id, int64_t sent_until_ms);

/* DR_OK, or how the device was lost. */
dr_status dr_pipeline_lost(dr_pipeline *p, dr_error *err);

/* Since the start, up to the last batch's end: how long there were jobs for the device, and how long it did nothing then. */
dr_device_load dr_pipeline_load(dr_pipeline *p);

/* Jobs accepted and neither given to on_result nor waiting for a model; and those put aside. */
int dr_pipeline_in_flight(dr_pipeline *p);
int dr_pipeline_aside(dr_pipeline *p);

/* Wait until all that was accepted is finished or waits for a model, at most timeout_ms (-1: no limit); true when nothing
 * is in flight. */
bool dr_pipeline_drain(dr_pipeline *p, int timeout_ms);

/* Stop now: what is in flight is freed without a result (nothing is lost: it was never committed).
 * Returns when the threads have ended, a step of the device later at most. */
void dr_pipeline_stop(dr_pipeline *p); /* NULL is allowed */

#endif
