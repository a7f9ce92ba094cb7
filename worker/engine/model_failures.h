/* model_failures.h - models that could not be loaded, and why, for as long as their files are as they were.
 *
 * Loading one that fails takes as long as reading what is wrong with it, and there may be many jobs for it: they get the
 * same answer without another try.  As soon as a file of the folder has changed, it is tried again. */
#ifndef DR_WORKER_ENGINE_MODEL_FAILURES_H
#define DR_WORKER_ENGINE_MODEL_FAILURES_H

#include "base/error.h"
#include "base/limits.h"

#include <stdint.h>

typedef struct dr_model_failures {
    struct {
        char name[DR_FOLDER_NAME_BYTES_MAX + 1]; /* "": free */
        uint64_t state;
        dr_error error;
    } model[DR_MODEL_FAILURES_MAX];
    int next;        /* the one that goes when all are taken */
} dr_model_failures; /* zeroed: none */

/* A number that changes with the folder's files: their names, sizes, times of change and inodes, its own and those in
 * the folders in it.  Links are followed. */
uint64_t dr_model_files_state(const char *folder);

/* Note a failure of the model that was tried in this state; one that is retriable is not noted. */
void dr_model_failures_note(dr_model_failures *f, const char *name, uint64_t state, const dr_error *err);

/* DR_OK: nothing is known against it in this state.  Else the failure, also in *err. */
dr_status dr_model_failures_find(const dr_model_failures *f, const char *name, uint64_t state, dr_error *err);

#endif
