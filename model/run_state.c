#include "model/run_state.h"

static void check_sample(const dr_run_sample *s)
{
    dr_assert(s->used == (s->step_table != NULL));
    if (!s->used)
        return;
    dr_assert(s->call >= 0 && s->call <= s->step_table->calls);
    dr_assert(s->draws >= 0 && s->draws <= s->call);
    dr_assert(s->guided || s->prompt == s->negative_prompt);
}

void dr_run_check(const dr_run *r)
{
    int samples = 0, prompts = 0;

    for (int i = 0; i < r->options.samples_max; i++) {
        check_sample(&r->sample[i]);
        samples += r->sample[i].used;
        prompts += r->sample[i].used + r->sample[i].guided;
    }
    dr_assert(dr_prompts_users(&r->prompts) == prompts);
    dr_assert(dr_time_table_users(&r->time_table) == samples);
    dr_assert(r->calls_done <= r->calls_begun);
    /* The last call may be one more: if its mark can't be set, because the device failed, dr_run_step() does
     * not wait for the oldest call. */
    dr_assert(r->calls_begun - r->calls_done <= DR_CALLS_AHEAD_MAX + 1);
}
