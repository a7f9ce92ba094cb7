/* commands.h - the commands, each of which has a file of its own: cmd_NAME.c. */
#ifndef DR_WORKER_PROGRAM_COMMANDS_H
#define DR_WORKER_PROGRAM_COMMANDS_H

#include "worker/program/cli.h"

extern const dr_command dr_cmd_render;
extern const dr_command dr_cmd_demo;
extern const dr_command dr_cmd_models;
extern const dr_command dr_cmd_version;
extern const dr_command dr_cmd_worker;
extern const dr_command dr_cmd_submit;
extern const dr_command dr_cmd_collect;

#endif
