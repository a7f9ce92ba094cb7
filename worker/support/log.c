#include "worker/support/log.h"

#include "base/error.h"
#include "base/limits.h"
#include "worker/support/clock.h"
#include "worker/support/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES_MAX = 1024,
    HEAD_BYTES_MAX = 160,
    LINE_BYTES_MAX = 2 * MESSAGE_BYTES_MAX + 1024, /* each character may need a backslash */
    LINE_BYTES_MIN = 640,                          /* everything but the message, which is cut */
};

static dr_log_level level_now = DR_LOG_INFO;
static bool json_now, over_bar;
static const char *shown; /* the module whose lines are all written, or NULL */

const char *dr_log_level_name(int level)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    return names[level];
}

const char *dr_log_form_name(int form)
{
    static const char *const names[] = { "auto", "text", "json" };
    return names[form];
}

void dr_log_set(dr_log_level level, dr_log_form form)
{
    level_now = level;
    json_now = form == DR_LOG_JSON || (form == DR_LOG_AUTO && !isatty(STDERR_FILENO));
}

void dr_log_show(const char *module)
{
    shown = module;
}

void dr_log_over_bar(bool on)
{
    over_bar = on;
}

bool dr_log_enabled(dr_log_level level)
{
    return level <= level_now;
}

/* Control characters are spaces by now, so only these two characters need an escape. */
static size_t append_escaped(char *line, size_t used, size_t size, const char *text)
{
    for (; *text && used + 2 < size; text++) {
        if (*text == '"' || *text == '\\')
            line[used++] = '\\';
        line[used++] = *text;
    }
    line[used] = 0;
    return used;
}

static size_t format_text(char *line, size_t size, const char *head, const dr_log_about *about,
                          const char *message)
{
    int used = snprintf(line, size, "%s%s", head, message);

    if (about && used >= 0 && (size_t)used < size)
        used += snprintf(line + used, size - (size_t)used, " (%s%s%spartition %d offset %lld, %s)",
                         about->job ? "job " : "", about->job ? about->job : "", about->job ? ", " : "",
                         about->partition, about->offset, about->code);
    if ((size_t)used > size - 2)
        used = (int)size - 2;
    line[used] = '\n';
    line[used + 1] = 0;
    return (size_t)used + 1;
}

static size_t format_json(char *line, size_t size, const char *head, const dr_log_about *about,
                          const char *message)
{
    char end[160] = "\"}\n", id[DR_NAME_BYTES_MAX + 1];
    size_t used = (size_t)snprintf(line, size, "%s", head);

    if (about)
        snprintf(end, sizeof(end), "\",\"partition\":%d,\"offset\":%lld,\"code\":\"%s\"}\n", about->partition,
                 about->offset, about->code);
    if (about && about->job) {
        dr_text_copy(id, sizeof(id), about->job, strlen(about->job));
        used += (size_t)snprintf(line + used, size - used, "\"job\":\"");
        used = append_escaped(line, used, size - sizeof(end), id);
        used += (size_t)snprintf(line + used, size - used, "\",");
    }
    used += (size_t)snprintf(line + used, size - used, "\"message\":\"");
    used = append_escaped(line, used, size - strlen(end) - 1, message);
    memcpy(line + used, end, strlen(end) + 1);
    return used + strlen(end);
}

size_t dr_log_format(char *line, size_t size, bool json, long long unix_ms, dr_log_level level,
                     const char *module, const dr_log_about *about, const char *message)
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    const int ms = (int)(unix_ms % 1000);
    char clean[MESSAGE_BYTES_MAX], when[32], head[HEAD_BYTES_MAX];
    struct tm tm;

    dr_assert(size >= LINE_BYTES_MIN);
    dr_text_copy(clean, sizeof(clean), message, strlen(message));
    if (!json) {
        localtime_r(&seconds, &tm);
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
        snprintf(head, sizeof(head), "%s.%03d %-5s %.32s: ", when, ms, dr_log_level_name(level), module);
        return format_text(line, size, head, about, clean);
    }
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(head, sizeof(head), "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"module\":\"%.32s\",", when, ms,
             dr_log_level_name(level), module);
    return format_json(line, size, head, about, clean);
}

static void write_line(dr_log_level level, const char *module, const dr_log_about *about, const char *format,
                       va_list ap)
{
    static const char clear[] = "\r\033[K";
    char message[MESSAGE_BYTES_MAX], line[sizeof(clear) + LINE_BYTES_MAX];
    const size_t before = over_bar ? sizeof(clear) - 1 : 0;
    size_t size;

    memcpy(line, clear, before);
    vsnprintf(message, sizeof(message), format, ap);
    size = dr_log_format(line + before, LINE_BYTES_MAX, json_now, (long long)dr_unix_ms(), level, module,
                         about, message);
    /* If the log can't be written, there is nobody left to tell. */
    if (write(STDERR_FILENO, line, before + size) < 0)
        return;
}

void dr_log(dr_log_level level, const char *module, const char *format, ...)
{
    va_list ap;

    if (!dr_log_enabled(level) && !(shown && strcmp(shown, module) == 0))
        return;
    va_start(ap, format);
    write_line(level, module, NULL, format, ap);
    va_end(ap);
}

void dr_log_job(dr_log_level level, const char *module, const dr_log_about *about, const char *format, ...)
{
    va_list ap;

    if (!dr_log_enabled(level))
        return;
    va_start(ap, format);
    write_line(level, module, about, format, ap);
    va_end(ap);
}
