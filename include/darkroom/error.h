/* error.h - how a call of libdarkroom says that it failed.
 *
 * A call that can fail returns a dr_status, and fills a dr_error, which is the caller's own storage and is
 * passed last (NULL is allowed).  The status is for deciding.  The text is for people: one line that names
 * the file, tensor or value.
 *
 *     dr_error err;
 *
 *     if (dr_model_open(&model, device, folder, &err)) {
 *         fprintf(stderr, "%s: %s\n", dr_status_name(err.status), err.text);
 *         goto out;
 *     }
 *
 * Threads: a dr_error belongs to the caller that passed it. */
#ifndef DARKROOM_ERROR_H
#define DARKROOM_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dr_status {
    DR_OK = 0,
    DR_EINVAL,       /* the caller's values: out of range, contradictory */
    DR_EFORMAT,      /* a file or message that is not what it says it is */
    DR_EUNSUPPORTED, /* well-formed, but something Darkroom does not do */
    DR_ENOTFOUND,    /* no such file, model, tensor, key */
    DR_ENOMEM,       /* a shortage that may pass: memory of host or device, file descriptors, threads */
    DR_EIO,          /* file system, network, broker, object store */
    DR_EDEVICE,      /* the accelerator failed; its state is lost */
    DR_ECANCELED,    /* somebody asked to stop it */
    DR_EEXPIRED      /* the job's deadline has passed, or can't be met */
} dr_status;

enum { DR_ERROR_TEXT_MAX = 480 };

typedef struct dr_error {
    dr_status status;
    bool retriable; /* the same call may succeed later, unchanged */
    char text[DR_ERROR_TEXT_MAX];
} dr_error;

/* The status as results and logs spell it: "invalid", "not_found", ...  The text is constant.  Any thread
 * may call. */
const char *dr_status_name(dr_status status);

#ifdef __cplusplus
}
#endif

#endif
