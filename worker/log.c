#include "worker/log.h"

#include "worker/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES_MAX = 1024,
    LINE_BYTES_MAX = 2 * MESSAGE_BYTES_MAX + 256, /* each character may need a backslash */
};

static dr_log_level level_now = DR_LOG_INFO;
static bool json_now;

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

bool dr_log_enabled(dr_log_level level)
{
    return level <= level_now;
}

/* Control characters are spaces already: only these two are left to be escaped. */
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

size_t dr_log_format(char *line, size_t size, bool json, long long unix_ms, dr_log_level level,
                     const char *module, const char *message)
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    const int ms = (int)(unix_ms % 1000);
    char clean[MESSAGE_BYTES_MAX], when[32];
    struct tm tm;
    size_t used;

    dr_text_copy(clean, sizeof(clean), message, strlen(message));
    if (!json) {
        localtime_r(&seconds, &tm);
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
        used = (size_t)snprintf(line, size, "%s.%03d %-5s %s: %s\n", when, ms, dr_log_level_name(level),
                                module, clean);
        return used < size ? used : size - 1;
    }
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    used = (size_t)snprintf(line, size,
                            "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"module\":\"%s\",\"message\":\"", when,
                            ms, dr_log_level_name(level), module);
    used = append_escaped(line, used, size - sizeof("\"}\n"), clean);
    memcpy(line + used, "\"}\n", sizeof("\"}\n"));
    return used + 3;
}

void dr_log(dr_log_level level, const char *module, const char *format, ...)
{
    char message[MESSAGE_BYTES_MAX], line[LINE_BYTES_MAX];
    struct timespec now;
    size_t size;
    va_list ap;

    if (!dr_log_enabled(level))
        return;
    va_start(ap, format);
    vsnprintf(message, sizeof(message), format, ap);
    va_end(ap);
    clock_gettime(CLOCK_REALTIME, &now);
    size = dr_log_format(line, sizeof(line), json_now, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000,
                         level, module, message);
    /* Nobody is left to be told that the log can't be written. */
    if (write(STDERR_FILENO, line, size) < 0)
        return;
}
