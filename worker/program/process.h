/* process.h - what the process does before anything else. */
#ifndef DR_WORKER_PROGRAM_PROCESS_H
#define DR_WORKER_PROGRAM_PROCESS_H

#include <stdbool.h>

/* Open those of file descriptors 0 to 2 that are closed: otherwise a file of ours could become one of
 * them, and messages would go into it.  And leave no core file after a crash: it would hold prompts,
 * pictures and passwords.  False: /dev/null can't be opened.  The first call in main. */
bool dr_process_begin(void);

/* Leave a core file after a crash, for a user who wants to look at it.  After dr_process_begin(), before
 * there are threads. */
void dr_process_allow_cores(void);

#endif
