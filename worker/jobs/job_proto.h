/* job_proto.h - a job as the protobuf message darkroom.v1.Job, for those who put it into another message.
 *
 * Both directions walk the message's descriptor and look up each field in the field table by its name.
 * So a field that is added to both needs no code here.  Any thread. */
#ifndef DR_WORKER_JOBS_JOB_PROTO_H
#define DR_WORKER_JOBS_JOB_PROTO_H

#include "worker/jobs/job.h"
#include "worker/jobs/proto_arena.h"

#include "darkroom/v1/job.pb-c.h"

/* Fill an initialised message from a job: every field that it holds (defaults_too), or only those that it
 * was given. The message borrows the job's strings, and task_message as the storage of the task's own
 * message. */
void dr_job_to_message(const dr_job *job, bool defaults_too, Darkroom__V1__Job *message,
                       Darkroom__V1__TextToImage *task_message);

/* Put every field of a message into the job, which copies strings.  The message was unpacked into the
 * arena.  Stops at the first field that is refused: DR_EINVAL or DR_EUNSUPPORTED with *refusal (NULL is
 * allowed).  DR_ENOMEM. */
dr_status dr_job_from_message(dr_job *job, const Darkroom__V1__Job *message, const dr_proto_arena *arena,
                              dr_refusal *refusal, dr_error *err);

#endif
