/* help.h - what --help prints, made from the tables, in lines that fit a terminal. */
#ifndef DR_WORKER_PROGRAM_HELP_H
#define DR_WORKER_PROGRAM_HELP_H

#include "worker/program/cli.h"

enum { DR_HELP_COLUMNS = 99 }; /* of the longest line */

/* Print a flag, and to its right what it does, in as many lines as that takes. */
void dr_help_row(FILE *to, const char *flag, const char *text);

/* Print the help of one command. */
void dr_help_command(FILE *to, const dr_command *command);
/* Print the list of commands, and all exit codes. */
void dr_help_commands(FILE *to, const dr_command *const *commands, size_t count);

#endif
