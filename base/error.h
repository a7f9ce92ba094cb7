/* error.h - how our own code fails: it fills the dr_error of include/darkroom/error.h.
 *
 *     rc = dr_weights_open(&w, path, err);
 *     if (rc)
 *         goto out;
 *
 * Threads: a dr_error belongs to the caller that passed it. */
#ifndef DR_BASE_ERROR_H
#define DR_BASE_ERROR_H

#include <darkroom/error.h>

/* Fill *err (NULL is allowed) and return the status, so that a function can end with
 * `return dr_fail(err, ...)`.  Retriable is what the status usually means: true for
 * DR_ENOMEM, DR_EIO and DR_EDEVICE. */
dr_status dr_fail(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* As dr_fail(), with what strerror() says of the current errno at the end.  Where errno tells of a shortage of the process or
 * the machine (memory, descriptors, threads, locks), the status is DR_ENOMEM whatever the caller thought: the want of a
 * descriptor is no file that can't be read.  Callers return what this returns. */
dr_status dr_fail_errno(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Put "context: " before the text that *err already has, and return its status. */
dr_status dr_fail_within(dr_error *err, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* An invariant of our own code, checked in every build: input is never asserted. */
#define dr_assert(condition) ((condition) ? (void)0 : dr_assert_failed(#condition, __FILE__, __LINE__))
void dr_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn, cold));

#endif
