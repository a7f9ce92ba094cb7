/* pipeline.h - from accepted jobs to finished results.
 *
 *     submit -> [scheduler] -> denoise thread -> [queue] -> finish threads -> on_result
 *                              owns the device             libvips encodes
 *
 * Kafka (worker_main), files (render) and the demo all feed it and all take results from it; it
 * knows none of them.  Every queue is bounded: where there is no room, submit says so instead of growing. */
#ifndef DR_WORKER_PIPELINE_H
#define DR_WORKER_PIPELINE_H

#include "worker/engine.h"
#include "worker/result.h"

typedef struct dr_pipeline dr_pipeline;

typedef enum dr_event_kind { DR_EVENT_QUEUED, DR_EVENT_STARTED, DR_EVENT_STEP, DR_EVENT_FINISHED } dr_event_kind;

typedef struct dr_job_event {
    dr_event_kind kind;
    const dr_job *job; /* borrowed for the call */
    int step, steps;
    int batch_samples;
} dr_job_event;

typedef struct dr_pipeline_options {
    dr_engine_options engine;
    int finish_threads; /* encoders; 0: half the cores, at least 1 */
    int waiting_max;    /* jobs between submit and the device */
    /* Called from a finishing thread, or the denoise thread for a failed job; takes the result.  It may
     * block: that is how a slow publisher slows the device. */
    void (*on_result)(void *arg, dr_result *result);
    void (*on_event)(void *arg, const dr_job_event *event); /* NULL: none; must not block */
    void *arg;
} dr_pipeline_options;

/* Opens the engine (on its own thread) and starts the threads. */
dr_status dr_pipeline_start(dr_pipeline **out, const dr_pipeline_options *options, dr_error *err);

/* Hand over a checked job.  False: no room now (job stays the caller's). */
bool dr_pipeline_submit(dr_pipeline *p, dr_job *job);
/* Wait until there may be room, or timeout. */
bool dr_pipeline_wait_room(dr_pipeline *p, int timeout_ms);

/* A waiting job ends at once, a running one at the next step, with DR_ECANCELED. Unknown ids are ignored. */
void dr_pipeline_cancel(dr_pipeline *p, const char *job_id);

/* Jobs accepted and not yet given to on_result. */
int dr_pipeline_in_flight(dr_pipeline *p);

/* Finish all that was accepted, at most timeout_ms (-1: no limit); true when nothing is in flight. */
bool dr_pipeline_drain(dr_pipeline *p, int timeout_ms);

/* Stop now: waiting jobs are freed without a result (nothing is lost: they were never committed). */
void dr_pipeline_stop(dr_pipeline *p); /* NULL is allowed */

#endif
