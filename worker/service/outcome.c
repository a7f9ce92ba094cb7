/* outcome.c - what the log says of a job that has ended. */
#include "worker/service/service_parts.h"
#include "worker/support/log.h"

/* A job can fail because of what it asks, or because somebody wanted it to end.  Then its sender is to
 * blame.  The worker is to blame for all other failures. */
static dr_log_level level_of(dr_status status)
{
    switch (status) {
    case DR_OK:
        return DR_LOG_DEBUG;
    case DR_EINVAL:
    case DR_EFORMAT:
    case DR_EUNSUPPORTED:
    case DR_ECANCELED:
    case DR_EEXPIRED:
        return DR_LOG_INFO;
    default:
        return DR_LOG_WARN;
    }
}

void dr_service_log_outcome(const char *module, const dr_result *result)
{
    const dr_log_about about = {
        .job = result->job->id,
        .partition = (int)result->job->origin.partition,
        .offset = (long long)result->job->origin.offset,
        .code = dr_status_name(result->error.status),
    };

    for (int i = 0; i < result->warnings.count; i++)
        dr_log_job(DR_LOG_INFO, module, &about, "%s", result->warnings.text[i]);
    dr_log_job(level_of(result->error.status), module, &about, "%s",
               result->error.status ? result->error.text : "done");
}
