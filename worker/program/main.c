/* darkroom - the program.  Each command has a file of its own (worker/program/cmd_NAME.c). */
#include "worker/program/commands.h"
#include "worker/program/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Some commands only print.  What they print may be lost, on a full disk: then they have failed. */
static int with_output(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "darkroom: standard output: %s\n", errno ? strerror(errno) : "can't be written to");
    return code == DR_EXIT_DONE ? DR_EXIT_FAILED : code;
}

int main(int argc, char **argv, char **environment)
{
    static const dr_command *const commands[] = {
        &dr_cmd_worker, &dr_cmd_render, &dr_cmd_submit,  &dr_cmd_collect,
        &dr_cmd_demo,   &dr_cmd_models, &dr_cmd_version,
    };
    if (!dr_process_begin())
        return DR_EXIT_FAILED;
    return with_output(dr_cli_run(commands, sizeof(commands) / sizeof(commands[0]), argc, argv, environment));
}
