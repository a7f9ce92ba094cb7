/* options.h - what a pipeline is given when it starts: its limits, and whom it tells.
 *
 * Files in this folder include downwards only:
 *
 *     pipeline.c     the public calls; starts and stops everything below
 *     denoise.c      the denoise thread: which batch is next
 *     finish.c       the finish threads: pixels become renditions, and the result is handed over
 *     batch.c        one batch on the engine, from its first step to its last
 *     aside.c        jobs that are put aside: they cannot run now and may later
 *     decode.c       pictures that the engine decodes while the next batch runs
 *     work.c         a job on its way: the stage that each is in, and how many jobs a stage may have
 *     options.h      this */
#ifndef DR_WORKER_PIPELINE_OPTIONS_H
#define DR_WORKER_PIPELINE_OPTIONS_H

#include "worker/engine/engine.h"
#include "worker/jobs/result.h"

typedef enum dr_event_kind {
    DR_EVENT_QUEUED,
    DR_EVENT_STARTED,
    DR_EVENT_STEP,
    DR_EVENT_FINISHED
} dr_event_kind;

typedef struct dr_job_event {
    dr_event_kind kind;
    const dr_job *job; /* borrowed for the call; its report_events says whether its sender wants events */
    int step, steps;   /* STEP: steps done, and steps in all */
    int batch_samples; /* STARTED, STEP: samples in the job's batch */
} dr_job_event;

/* The numbers that the user can set.  Each row has the name of its setting (worker/settings/settings.h).
 * Each row also makes a member of dr_pipeline_options, and the line that fills this member in
 * (worker/program/setup.c). */
/* clang-format off */
#define DR_PIPELINE_NUMBERS(NUMBER)                                                                          \
    /* Threads that encode.  0: half of dr_cores(), at least 1; the other half helps while many works wait   \
     * to be encoded. */                                                                                     \
    NUMBER(finish_threads)                                                                                   \
    /* Jobs accepted, not given to on_result yet, and not waiting for a model; at least 1. */                \
    NUMBER(jobs_max)                                                                                         \
    /* How long a job waits for a model that is not there; then it fails. */                                 \
    NUMBER(model_wait_s)
/* clang-format on */

typedef struct dr_pipeline_options {
    dr_engine_options engine;
#define DR_PIPELINE_MEMBER(name) int name;
    DR_PIPELINE_NUMBERS(DR_PIPELINE_MEMBER)
#undef DR_PIPELINE_MEMBER
    int shortage_ms; /* how long a job waits after a shortage of memory before it runs again; after each
                        further shortage it waits twice as long as before.  0 means 1000 */
    /* A job has its result.  A finish thread calls it, and the callee owns the result.  It may block: that
     * is how a slow publisher slows the device.  Before the caller stops the pipeline, it makes sure that
     * on_result does not block for ever. */
    void (*on_result)(void *arg, dr_result *result);
    /* Something happened to a job.  NULL: nobody listens.  It is called for every job, with STEP at most
     * every 500 ms, from any thread.  It must not block and must not call the pipeline. */
    void (*on_event)(void *arg, const dr_job_event *event);
    void *arg; /* for both */
} dr_pipeline_options;

#endif
