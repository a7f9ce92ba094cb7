/* log.h - what the program says while it runs, a line at a time on stderr.
 *
 *     text   15:04:05.678 warn  source: no broker answers
 *     json   {"time":"2026-11-23T15:04:05.678Z","level":"warn","module":"source","message":"no broker answers"}
 *
 * Text on a terminal, JSON elsewhere, unless told otherwise.  A line is one write, so lines of several threads
 * never mix, and nothing is allocated.  Prompts are not logged: name jobs by their id.
 *
 *     error  the worker ends, or something is given up
 *     warn   somebody may have to do something: what is tried again and again, a job that failed here and not for what it asks
 *     info   once in a worker's life, or when its state changes; a job that can't be done as it was sent
 *     debug  once a job or a batch: thousands a second where jobs are small
 *
 * The level, the form and what is shown are the program's, set before there are threads. */
#ifndef DR_WORKER_SUPPORT_LOG_H
#define DR_WORKER_SUPPORT_LOG_H

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
/* Everything of one module, whatever the level; NULL: of none.  module is borrowed. */
void dr_log_show(const char *module);
/* While a progress bar stands on the terminal: a line of the log takes its place, and the bar is drawn anew below. */
void dr_log_over_bar(bool on);
bool dr_log_enabled(dr_log_level level);

/* module: which part of the program speaks, one word. */
void dr_log(dr_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define dr_log_error(module, ...) dr_log(DR_LOG_ERROR, module, __VA_ARGS__)
#define dr_log_warn(module, ...) dr_log(DR_LOG_WARN, module, __VA_ARGS__)
#define dr_log_info(module, ...) dr_log(DR_LOG_INFO, module, __VA_ARGS__)
#define dr_log_debug(module, ...) dr_log(DR_LOG_DEBUG, module, __VA_ARGS__)

/* Which message of the jobs topic a line is about, and what became of it: fields of their own in JSON, and at the end of a text
 * line. */
typedef struct dr_log_about {
    const char *job; /* its id; NULL: it has none */
    int partition;
    long long offset;
    const char *code; /* dr_status_name() */
} dr_log_about;

void dr_log_job(dr_log_level level, const char *module, const dr_log_about *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* One line into a buffer of at least 640 bytes, with its newline; returns its bytes.  What dr_log() and dr_log_job() write (about: NULL, or not); apart
 * for tests. */
size_t dr_log_format(char *line, size_t size, bool json, long long unix_ms, dr_log_level level,
                     const char *module, const dr_log_about *about, const char *message);

#endif
