/* pipeline.h - from accepted jobs to results.
 *
 *     submit -> [scheduler] -> denoise thread -> [finishing] -> finish threads -> on_result
 *                              owns the device                  libvips encodes
 *
 * The worker, the offline renderer and the demo feed it and take results from it.  It knows none of them,
 * and no broker.
 *
 * Bounds.  jobs_max bounds the jobs inside, wherever they are: without room, submit says so and nothing
 * grows.  Pixels that wait to be encoded are bounded too: without room, the device waits.
 *
 * Results.  Every accepted job gets exactly one result, unless the pipeline is stopped first.  A job that
 * fails never fails its neighbours, whether the engine refuses it, it fails in its batch, it is canceled
 * or its deadline passes.  Where a whole batch fails, each of its jobs runs once more, alone.  A job that
 * has failed has its result at the next step, not when its batch ends.
 *
 * A lost device (DR_EDEVICE).  Every job inside, and every job that still comes, fails with that status:
 * nobody here can do them.  One of the jobs that were on the device may be the reason, so their results have
 * device_lost set.  These are the jobs of the batch that ran, and the jobs of the batch before whose pictures
 * were still under way.  A job that comes with device_losses shares the device with nobody, so that the next
 * loss has one suspect.
 *
 * Put aside.  Some failures pass, so at most DR_ASIDE_JOBS_MAX jobs wait out of everybody's way:
 *
 *     a job whose model is not there       waits until the model is there, at most model_wait_s.
 *                                          Meanwhile it does not count for jobs_max.
 *     a job that failed for a shortage     (DR_ENOMEM) waits shortage_ms and runs again, then twice as long,
 *                                          then four times.  Only a shortage that lasts is its answer.
 *
 * A cancellation or a deadline ends a job that is put aside, too.  Draining does not wait for models: jobs
 * that still wait for one are left without a result.
 *
 * Threads: one thread starts and stops the pipeline; any thread may make the other calls. */
#ifndef DR_WORKER_PIPELINE_PIPELINE_H
#define DR_WORKER_PIPELINE_PIPELINE_H

#include "worker/pipeline/options.h"

typedef struct dr_pipeline dr_pipeline;

/* Start the threads and open the engine, on its own thread.  dr_pictures_start() comes first.  The strings
 * in options are borrowed until dr_pipeline_stop().  A failure is the engine's, or DR_ENOMEM; *out is NULL
 * then. */
dr_status dr_pipeline_start(dr_pipeline **out, const dr_pipeline_options *options, dr_error *err);

/* Hand over a complete job.  False: there is no room now, and the job stays the caller's. */
bool dr_pipeline_submit(dr_pipeline *p, dr_job *job);

/* Wait until there may be room for a job, at most timeout_ms (-1: no limit).  False: there is none. */
bool dr_pipeline_wait_room(dr_pipeline *p, int timeout_ms);

/* Cancel the jobs that have this id and were sent until then (Unix time).  A job whose time of sending is
 * not known counts as sent before.  The jobs fail with DR_ECANCELED: a waiting job at once, a running job at
 * the next step.  The neighbours of a running job go on.  Unknown ids are ignored. */
void dr_pipeline_cancel(dr_pipeline *p, const char *job_id, int64_t sent_until_ms);

/* DR_OK, or how the device was lost; err may be NULL. */
dr_status dr_pipeline_lost(dr_pipeline *p, dr_error *err);

/* Since the start: how long there were jobs for the device, and how much of that time the device did
 * nothing.  The numbers are those of the end of the last batch. */
dr_device_load dr_pipeline_load(dr_pipeline *p);

/* The number of jobs that were accepted, were not given to on_result yet, and do not wait for a model. */
int dr_pipeline_in_flight(dr_pipeline *p);

/* The number of jobs put aside, for a model or for a shortage of memory. */
int dr_pipeline_aside(dr_pipeline *p);

/* Wait until no job is in flight, at most timeout_ms (-1: no limit).  True: no job is in flight. */
bool dr_pipeline_drain(dr_pipeline *p, int timeout_ms);

/* Stop now.  Jobs in flight are freed without a result.  Nothing is lost, because their offsets were not
 * committed.  The call returns when the threads have ended, after one step of the device at most.  NULL is
 * allowed. */
void dr_pipeline_stop(dr_pipeline *p);

#endif
