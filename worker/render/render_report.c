#include "worker/render/render_report.h"

#include "worker/support/clock.h"
#include "worker/support/text.h"

#include <glib.h>
#include <inttypes.h>
#include <stdio.h>

void dr_render_report_begin(dr_render_report *report, const dr_render_jobs *jobs, bool one_job)
{
    *report = (dr_render_report){ .jobs = jobs, .one_job = one_job, .start_s = dr_clock_s() };
    report->progress.total = dr_render_jobs_count(jobs);
    dr_progress_bar_open(&report->bar);
}

void dr_render_report_job(dr_render_report *report, long line, const char *what)
{
    char where[DR_RENDER_WHERE_MAX];

    dr_progress_bar_clear(&report->bar);
    dr_render_jobs_where(report->jobs, where, line);
    dr_text_print(stderr, "%s%s", where, what);
}

void dr_render_report_note(dr_render_report *report, const char *note)
{
    dr_progress_bar_clear(&report->bar);
    dr_text_print(stderr, "%s", note);
}

void dr_render_report_pictures(dr_render_report *report, const dr_render_output *output,
                               const dr_result *result, const dr_render_files *files)
{
    dr_progress_bar_clear(&report->bar);
    for (int i = 0; i < result->pictures; i++) {
        const dr_rendition *picture = &result->picture[i];
        char *path = dr_render_output_path(output, files->name[i]);
        dr_text_print(stderr, "%s: %dx%d, seed %" PRIu64, path, picture->width, picture->height,
                      picture->seed);
        g_free(path);
    }
}

void dr_render_report_bar(dr_render_report *report, unsigned running)
{
    dr_progress_state *p = &report->progress;

    p->seconds = dr_clock_s() - report->start_s;
    p->under_way = p->steps > 0 ? (double)running * p->step / p->steps : 0;
    dr_progress_bar_show(&report->bar, p);
}

void dr_render_report_stop(dr_render_report *report)
{
    report->progress.seconds = dr_clock_s() - report->start_s;
    dr_progress_bar_clear(&report->bar);
}

void dr_render_report_end(const dr_render_report *report, bool interrupted)
{
    const dr_progress_state *p = &report->progress;
    char rate[48];

    if (report->one_job && p->failed && !interrupted)
        return;
    dr_progress_rate(rate, sizeof(rate), p->pictures, p->seconds);
    if (interrupted)
        fprintf(stderr, "interrupted: ");
    if (!report->one_job)
        fprintf(stderr, "%ld done, %ld done before, %ld failed; ", p->done, p->skipped, p->failed);
    else if (p->skipped)
        fprintf(stderr, "done before; ");
    fprintf(stderr, "%ld picture%s in %.1f s", p->pictures, p->pictures == 1 ? "" : "s", p->seconds);
    if (p->pictures > 0)
        fprintf(stderr, ", %s", rate);
    fputc('\n', stderr);
}
