/* cli.h - the command line: commands, their flags and --help, all made from tables.
 *
 * A command is a dr_command in a file of its own (worker/program/cmd_NAME.c), and is listed in
 * worker/program/main.c.  Its flags are the settings that name it (worker/settings/settings.h) and, where
 * it makes jobs, the fields of a job. */
#ifndef DR_WORKER_PROGRAM_CLI_H
#define DR_WORKER_PROGRAM_CLI_H

#include "worker/jobs/job.h"
#include "worker/program/exit_codes.h"
#include "worker/settings/config.h"

#include <stdio.h>

typedef struct dr_cli {
    dr_config config;
    /* NULL where the command takes no job: */
    dr_job *job;      /* what job flags said */
    dr_job *defaults; /* what --set said */
    const char *sent; /* what submit prints after an id: " sent" in a demo; NULL: nothing */
} dr_cli;

typedef struct dr_command {
    const char *name;
    unsigned bit;   /* DR_FOR_...: which settings are its flags */
    bool takes_job; /* the fields of a job are flags, too */
    bool
        is_service; /* nobody sits before it: where log_format is auto and stderr no terminal, it logs JSON */
    const char *summary; /* one line, for the list of commands */
    const char *text;    /* what else --help says, paragraphs with a newline between; NULL: nothing */
    const char *example; /* a command line; or several, with a newline and two blanks between */
    int (*run)(dr_cli *cli);
} dr_command;

/* Read flags, config file and environment for the command that argv[1] names, run it, and return its exit
 * code.  What is wrong is said on stderr.  From main's thread, before there are others. */
int dr_cli_run(const dr_command *const *commands, size_t count, int argc, char **argv,
               char *const *environment);

/* Say "darkroom render: ..." on stderr, and where help is.  Returns DR_EXIT_USAGE. */
int dr_cli_usage(const dr_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Say "darkroom render: ..." on stderr.  Returns DR_EXIT_DEVICE for DR_EDEVICE, and DR_EXIT_FAILED for all
 * others. */
int dr_cli_failed(const dr_command *command, const dr_error *err);

/* Whether jobs come from --jobs or from flags: DR_EXIT_DONE.  From neither or from both: say so;
 * DR_EXIT_USAGE. */
int dr_cli_check_jobs(const dr_command *command, const dr_cli *cli);
/* Whether --out names something that may be a folder: DR_EXIT_DONE.  Nothing, or "-": say so;
 * DR_EXIT_USAGE. */
int dr_cli_check_out(const dr_command *command, const dr_cli *cli);

#endif
