/* error.h - how Darkroom's own code fails: it fills the dr_error of include/darkroom/error.h.
 *
 *     rc = dr_weights_open(&w, path, err);
 *     if (rc)
 *         goto out;
 *
 * Threads: a dr_error belongs to the caller that passed it. */
#ifndef DR_BASE_ERROR_H
#define DR_BASE_ERROR_H

#include <darkroom/error.h>

/* Fill *err (NULL is allowed) and return the status, so that a function can end with `return dr_fail(err,
 * ...)`.  err->retriable becomes true for DR_ENOMEM, DR_EIO and DR_EDEVICE. */
dr_status dr_fail(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Like dr_fail(), with the text of strerror() for the current errno at the end.  If errno says that the
 * process or the machine lacks something (memory, descriptors, threads, locks), the status becomes
 * DR_ENOMEM whatever `status` is.  So callers return what this function returns. */
dr_status dr_fail_errno(dr_error *err, dr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Put the formatted text and ": " before the text that is already in *err.  Returns the status of *err. */
dr_status dr_fail_within(dr_error *err, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* Assert an invariant of Darkroom's own code, in every build.  Input is never asserted. */
#define dr_assert(condition) ((condition) ? (void)0 : dr_assert_failed(#condition, __FILE__, __LINE__))

/* For dr_assert(): print the condition and abort. */
void dr_assert_failed(const char *condition, const char *file, int line) __attribute__((noreturn, cold));

#endif
