/* error.h - how a call says that it failed.
 *
 * A call that can fail returns a dr_status and fills a dr_error, the caller's own
 * storage, passed last.  The status is for deciding, the text is for people: one
 * line that names the file, job, tensor or offset.  Nobody parses the text.
 *
 *     rc = dr_weights_open(&w, path, err);
 *     if (rc)
 *         goto out;
 *
 * Threads: a dr_error belongs to whoever passed it. */
#ifndef DR_BASE_ERROR_H
#define DR_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

typedef enum dr_status {
    DR_OK = 0,
    DR_EINVAL,       /* the caller's values: out of range, contradictory */
    DR_EFORMAT,      /* a file or message that is not what it says it is */
    DR_EUNSUPPORTED, /* well-formed, but something Darkroom does not do */
    DR_ENOTFOUND,    /* no such file, model, tensor, key */
    DR_ENOMEM,       /* memory, on the host or the device */
    DR_EIO,          /* file system, network, broker, object store */
    DR_EDEVICE,      /* the accelerator failed; its state is lost */
    DR_ECANCELED,    /* somebody asked for it to stop */
    DR_EEXPIRED,     /* the job's deadline has passed, or can't be met */
} dr_status;

enum { DR_ERROR_TEXT_MAX = 480 };

typedef struct dr_error {
    dr_status status;
    bool retriable; /* the same call may succeed later, unchanged */
    char text[DR_ERROR_TEXT_MAX];
} dr_error;

/* Fill *err (NULL is allowed) and return the status, so that a function can end with
 * `return dr_fail(err, ...)`.  Retriable is what the status usually means: true for
 * DR_ENOMEM, DR_EIO and DR_EDEVICE. */
dr_status dr_fail(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* As dr_fail(), with what strerror() says of the current errno at the end. */
dr_status dr_fail_errno(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Put "context: " before the text that *err already has, and return its status. */
dr_status dr_fail_within(dr_error *err, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* The status' name as results and logs spell it: "invalid", "not_found", ... */
const char *dr_status_name(dr_status status);

/* An invariant of our own code, checked in every build: input is never asserted. */
#define dr_assert(condition) ((condition) ? (void)0 : dr_assert_failed(#condition, __FILE__, __LINE__))
void dr_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn, cold));

#endif
