/* model_failures.h - remembers models that could not be loaded, and why, until their files change.
 *
 * Finding what is wrong with a model takes as long as reading it, and many jobs may ask for this model.  They
 * all get the same answer, without another try.  As soon as a file of the folder has changed, the model is
 * tried again.  One thread. */
#ifndef DR_WORKER_ENGINE_MODEL_FAILURES_H
#define DR_WORKER_ENGINE_MODEL_FAILURES_H

#include "base/error.h"
#include "base/limits.h"

#include <stdint.h>

typedef struct dr_model_failures {
    struct {
        char name[DR_FOLDER_NAME_BYTES_MAX + 1]; /* "": nothing is noted here */
        uint64_t state;
        dr_error error;
    } model[DR_MODEL_FAILURES_MAX];
    int next;        /* the place of the oldest failure, which is overwritten when all are taken */
} dr_model_failures; /* zeroed: none */

/* A number that changes with the files of a folder and of the folders in it: their names, sizes, times of
 * change and inodes.  Links are followed.  Any thread. */
uint64_t dr_model_files_state(const char *folder);

/* Note that the model could not be loaded while its files were in this state.  A failure that is retriable
 * is not noted. */
void dr_model_failures_note(dr_model_failures *f, const char *name, uint64_t state, const dr_error *err);

/* DR_OK: no failure of the model is known in this state.  Otherwise the result is the failure; *err (NULL is
 * allowed) is the same. */
dr_status dr_model_failures_find(const dr_model_failures *f, const char *name, uint64_t state, dr_error *err);

#endif
