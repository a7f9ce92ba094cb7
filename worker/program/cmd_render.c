/* cmd_render.c - `darkroom render`: a file of jobs into a folder of pictures, or one job in flags into one
 * picture.
 *
 * The work is done in worker/render/render.h.  Here are what the user asked for, and the exit code. */
#include "worker/pictures/picture.h"
#include "worker/program/commands.h"
#include "worker/program/setup.h"
#include "worker/render/render.h"
#include "worker/render/render_dry.h"
#include "worker/render/render_jobs.h"
#include "worker/render/render_output.h"
#include "worker/render/render_target.h"
#include "worker/support/log.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* Exit with an error that came before anything was drawn.  It is wrong usage, unless a retry can help. */
static int refused(const dr_error *err)
{
    return err->retriable ? dr_cli_failed(&dr_cmd_render, err)
                          : dr_cli_usage(&dr_cmd_render, "%s", err->text);
}

/* NULL: the device draws without models. */
static const char *models_of(const dr_config *config)
{
    return strcmp(config->device, "null") == 0 ? NULL : config->models;
}

/* Look at what is in the folder, and make nothing. */
static int dry_run(dr_render_jobs *jobs, const dr_render_target *target, const dr_config *config)
{
    dr_render_output *output;
    dr_error err;
    long wrong = 0;
    dr_status rc = dr_render_output_look(&output, target, models_of(config), &err);

    if (!rc)
        rc = dr_render_dry_run(jobs, dr_render_output_list(output), config, &wrong, &err);
    dr_render_output_close(output);
    if (rc)
        return dr_cli_failed(&dr_cmd_render, &err);
    return wrong ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

static int end(dr_render *r)
{
    dr_error err;
    int code = DR_EXIT_DONE;

    if (dr_render_end(r, &err))
        code = dr_cli_failed(&dr_cmd_render, &err); /* the last line says why it ended */
    if (code == DR_EXIT_DEVICE)
        return code;
    if (interrupted && code == DR_EXIT_DONE)
        return DR_EXIT_INTERRUPTED;
    return dr_render_failed(r) ? DR_EXIT_FAILED : code;
}

static int draw_all(dr_render *r, const dr_config *config)
{
    dr_error err;
    dr_status rc = dr_render_start(r, &err);

    if (rc)
        return rc == DR_EINVAL ? dr_cli_usage(&dr_cmd_render, "%s", err.text)
                               : dr_cli_failed(&dr_cmd_render, &err);
    /* From here on the bar says enough.  Lines of each batch would tear it. */
    if (isatty(STDERR_FILENO) && config->log_level == DR_LOG_INFO)
        dr_log_set(DR_LOG_WARN, (dr_log_form)config->log_format);
    return dr_render_draw(r, &err) ? dr_cli_failed(&dr_cmd_render, &err) : end(r);
}

static int draw(dr_render_jobs *jobs, const dr_render_target *target, const dr_config *config)
{
    const struct sigaction action = { .sa_handler = on_signal };
    dr_render_options options = {
        .jobs = jobs,
        .target = target,
        .models_dir = models_of(config),
        .pipeline = dr_setup_pipeline(config),
        .one_job = !*config->jobs,
        .sheet = config->sheet,
        .interrupted = &interrupted,
    };
    dr_render *r;
    dr_error err;
    int code;

    options.pipeline.model_wait_s = 0; /* a job fails at once if its model is not there */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (dr_render_open(&r, &options, &err))
        return refused(&err);
    code = draw_all(r, config);
    dr_render_close(r);
    return code;
}

/* Takes the job of the flags. */
static dr_status open_jobs(dr_render_jobs **out, dr_render_target *target, dr_cli *cli, dr_error *err)
{
    const dr_config *config = &cli->config;
    const dr_render_jobs_options options = {
        .path = config->jobs,
        .models = config->models,
        .job = cli->job,
        .defaults = cli->defaults,
    };
    dr_status rc = dr_render_target_parse(target, config->out, !*config->jobs, err);

    if (rc)
        return rc;
    cli->job = NULL;
    rc = dr_render_jobs_open(out, &options, target, err);
    return rc ? rc : dr_setup_check_models(config, err);
}

static int run(dr_cli *cli)
{
    const dr_config *config = &cli->config;
    dr_render_target target = { 0 };
    dr_render_jobs *jobs = NULL;
    dr_error err;
    int code;

    if (dr_cli_check_jobs(&dr_cmd_render, cli) || dr_cli_check_out(&dr_cmd_render, cli))
        return DR_EXIT_USAGE;
    if (dr_pictures_start(&err))
        return dr_cli_failed(&dr_cmd_render, &err);
    if (open_jobs(&jobs, &target, cli, &err))
        code = refused(&err);
    else
        code = config->dry_run ? dry_run(jobs, &target, config) : draw(jobs, &target, config);
    dr_render_jobs_close(jobs);
    dr_render_target_free(&target);
    dr_pictures_stop();
    return code;
}

const dr_command dr_cmd_render = {
    .name = "render",
    .bit = DR_FOR_RENDER,
    .takes_job = true,
    .summary = "Draw a file of jobs into a folder, or one job into a picture, without Kafka",
    .text =
        "One job in flags: --out names the file of its picture (x.png, x.jpg or x.webp), or a folder.\n"
        "A file of jobs: each line is a JSON object with the fields below, a row of a .csv or .tsv file "
        "that names them, or a prompt of a .txt file. A job without an id is called by its line: "
        "line-000017. --out names a folder. The folder gets <id>.png for each job, or <id>@0.png, "
        "<id>@1.png ... for several images, a line for each job in results.jsonl, and contact-sheet.png. "
        "Run again, it draws what is not done yet.",
    .example =
        "darkroom render --model tiny --prompt \"a cat face on a teal background\" --out cat.png\n"
        "  darkroom render --jobs prompts.txt --set model=sd15 --set steps=30 --out pictures",
    .run = run,
};
