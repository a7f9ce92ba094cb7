#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool usually_retriable(dr_status status)
{
    return status == DR_ENOMEM || status == DR_EIO || status == DR_EDEVICE;
}

/* Keep the text on one line: a file name may have a newline. */
static void keep_to_one_line(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

static void set(dr_error *err, dr_status status, const char *format, va_list ap)
{
    err->status = status;
    err->retriable = usually_retriable(status);
    vsnprintf(err->text, sizeof(err->text), format, ap);
    keep_to_one_line(err->text);
}

dr_status dr_fail(dr_error *err, dr_status status, const char *format, ...)
{
    va_list ap;

    if (!err)
        return status;
    va_start(ap, format);
    set(err, status, format, ap);
    va_end(ap);
    return status;
}

/* EAGAIN comes from pthread_create(), and from mmap() of locked memory. */
static bool is_shortage(int code)
{
    return code == ENOMEM || code == EMFILE || code == ENFILE || code == EAGAIN || code == ENOBUFS ||
           code == ENOLCK;
}

dr_status dr_fail_errno(dr_error *err, dr_status status, const char *format, ...)
{
    const int saved = errno;
    size_t used;
    va_list ap;

    if (is_shortage(saved))
        status = DR_ENOMEM;
    if (!err)
        return status;
    va_start(ap, format);
    set(err, status, format, ap);
    va_end(ap);
    used = strlen(err->text);
    /* 0: the call did not say why it failed, and "Success" would be no reason. */
    snprintf(err->text + used, sizeof(err->text) - used, ": %s",
             saved ? strerror(saved) : "failed, without a reason");
    return status;
}

dr_status dr_fail_within(dr_error *err, const char *format, ...)
{
    char inner[DR_ERROR_TEXT_MAX];
    size_t used;
    va_list ap;

    dr_assert(err && err->status != DR_OK);
    memcpy(inner, err->text, sizeof(inner));
    va_start(ap, format);
    vsnprintf(err->text, sizeof(err->text), format, ap);
    va_end(ap);
    keep_to_one_line(err->text);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, ": %s", inner);
    return err->status;
}

const char *dr_status_name(dr_status status)
{
    static const char *const names[] = {
        [DR_OK] = "ok",
        [DR_EINVAL] = "invalid",
        [DR_EFORMAT] = "malformed",
        [DR_EUNSUPPORTED] = "unsupported",
        [DR_ENOTFOUND] = "not_found",
        [DR_ENOMEM] = "out_of_memory",
        [DR_EIO] = "io",
        [DR_EDEVICE] = "device",
        [DR_ECANCELED] = "canceled",
        [DR_EEXPIRED] = "expired",
    };
    dr_assert((unsigned)status < sizeof(names) / sizeof(names[0]));
    return names[status];
}

void dr_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
