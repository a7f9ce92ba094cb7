/* darkroom - the program: one subcommand a file (worker/cmd_NAME.c). */
#include "worker/commands.h"
#include "worker/process.h"

int main(int argc, char **argv, char **environment)
{
    static const dr_command *const commands[] = {
        &dr_cmd_worker, &dr_cmd_render, &dr_cmd_submit,  &dr_cmd_collect,
        &dr_cmd_demo,   &dr_cmd_models, &dr_cmd_version,
    };
    if (!dr_process_begin())
        return DR_EXIT_FAILED;
    return dr_cli_run(commands, sizeof(commands) / sizeof(commands[0]), argc, argv, environment);
}
