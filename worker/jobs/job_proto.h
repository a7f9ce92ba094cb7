/* job_proto.h - jobs as protobuf messages, for those who put one into another message.
 *
 * Both ways walk the message's descriptor and the field table side by side, so a field that is
 * added to both needs no code here. */
#ifndef DR_WORKER_JOBS_JOB_PROTO_H
#define DR_WORKER_JOBS_JOB_PROTO_H

#include "worker/jobs/job.h"
#include "worker/jobs/proto_arena.h"

#include "darkroom/v1/job.pb-c.h"

/* Fill an initialised message from a job: everything it holds where the job is complete, else what
 * was given.  Borrows the job's strings.  task_message is storage for the task's own message. */
void dr_job_to_message(const dr_job *job, bool defaults_too, Darkroom__V1__Job *message,
                       Darkroom__V1__TextToImage *task_message);

/* Put every field of an unpacked message into the job; stops at the first that is refused. */
dr_status dr_job_from_message(dr_job *job, const Darkroom__V1__Job *message, const dr_proto_arena *arena,
                              dr_refusal *refusal, dr_error *err);

#endif
