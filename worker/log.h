/* log.h - what the program says while it runs, a line at a time on stderr.
 *
 *     text   15:04:05.678 warn  source: no broker answers
 *     json   {"time":"2026-11-23T15:04:05.678Z","level":"warn","module":"source","message":"no broker answers"}
 *
 * Text on a terminal, JSON elsewhere, unless told otherwise.  A line is one write, so lines of several threads
 * never mix, and nothing is allocated.  Prompts are not logged: name jobs by their id.
 *
 * The level and the form are the program's, set once by main before there are threads. */
#ifndef DR_WORKER_LOG_H
#define DR_WORKER_LOG_H

#include <stdbool.h>
#include <stddef.h>

typedef enum dr_log_level {
    DR_LOG_ERROR,
    DR_LOG_WARN,
    DR_LOG_INFO,
    DR_LOG_DEBUG,
    DR_LOG_LEVELS
} dr_log_level;
typedef enum dr_log_form { DR_LOG_AUTO, DR_LOG_TEXT, DR_LOG_JSON, DR_LOG_FORMS } dr_log_form;

const char *dr_log_level_name(int level); /* "error", "warn", "info", "debug" */
const char *dr_log_form_name(int form);   /* "auto", "text", "json" */

void dr_log_set(dr_log_level level, dr_log_form form);
bool dr_log_enabled(dr_log_level level);

/* module: which part of the program speaks, one word. */
void dr_log(dr_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define dr_log_error(module, ...) dr_log(DR_LOG_ERROR, module, __VA_ARGS__)
#define dr_log_warn(module, ...) dr_log(DR_LOG_WARN, module, __VA_ARGS__)
#define dr_log_info(module, ...) dr_log(DR_LOG_INFO, module, __VA_ARGS__)
#define dr_log_debug(module, ...) dr_log(DR_LOG_DEBUG, module, __VA_ARGS__)

/* One line into a buffer, with its newline; returns its bytes.  What dr_log() writes; apart for tests. */
size_t dr_log_format(char *line, size_t size, bool json, long long unix_ms, dr_log_level level,
                     const char *module, const char *message);

#endif
