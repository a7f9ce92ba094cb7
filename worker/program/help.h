/* help.h - what --help prints, from the tables, in lines that fit a terminal. */
#ifndef DR_WORKER_PROGRAM_HELP_H
#define DR_WORKER_PROGRAM_HELP_H

#include "worker/program/cli.h"

enum { DR_HELP_COLUMNS = 99 }; /* no line is longer */

/* A flag, and what it does from the same column on; wrapped at blanks. */
void dr_help_row(FILE *to, const char *flag, const char *text);

/* All of a command. */
void dr_help_command(FILE *to, const dr_command *command);
/* The commands. */
void dr_help_commands(FILE *to, const dr_command *const *commands, size_t count);

#endif
