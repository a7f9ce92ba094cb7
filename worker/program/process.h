/* process.h - what the process does before anything else. */
#ifndef DR_WORKER_PROGRAM_PROCESS_H
#define DR_WORKER_PROGRAM_PROCESS_H

#include <stdbool.h>

/* Open what is closed of file descriptors 0 to 2, so that no file of ours becomes one of them and gets what is said; and
 * leave no core, which would hold prompts, pictures and passwords.  False: /dev/null can't be opened.  First in main. */
bool dr_process_begin(void);

/* Cores after all, of a user who wants to look at one. */
void dr_process_allow_cores(void);

#endif
