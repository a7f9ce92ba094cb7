/* log.h - what the program tells while it runs: one line at a time, on stderr.
 *
 *     text   15:04:05.678 warn  consumer: no broker
 *     json   {"time":"2026-11-23T15:04:05.678Z","level":"warn","module":"consumer","message":"no broker"}
 *
 * By default the form is text on a terminal, and JSON elsewhere.  One write() writes a line, so the lines
 * of several threads never mix.  Nothing is allocated.  Prompts are not logged: name a job by its id.
 *
 *     error  the worker ends, or something is given up
 *     warn   somebody may have to act: the worker tries something again and again, or a job failed and its
 *            sender is not to blame
 *     info   once in a worker's life, or when its state changes; a job that can't be done as it was sent
 *     debug  once for a job or a batch: thousands of lines a second where jobs are small
 *
 * The level, the form and the module that is shown hold for the whole process.  They are set before there
 * are threads; all other calls may come from any thread. */
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

/* Names of the settings' values, for messages and the help.  They live for ever. */
const char *dr_log_level_name(int level); /* "error", "warn", "info", "debug" */
const char *dr_log_form_name(int form);   /* "auto", "text", "json" */

/* Sets how much is logged, and in which form. */
void dr_log_set(dr_log_level level, dr_log_form form);

/* All lines of this module are logged, whatever their level; NULL: of no module.  module is borrowed. */
void dr_log_show(const char *module);

/* Whether a progress bar is on the terminal.  If it is, a line of the log is written over the bar, which
 * its owner then draws again below. */
void dr_log_over_bar(bool on);

/* Whether lines of this level are logged. */
bool dr_log_enabled(dr_log_level level);

/* Logs one line.  module: the part of the program that logs it, in one word. */
void dr_log(dr_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define dr_log_error(module, ...) dr_log(DR_LOG_ERROR, module, __VA_ARGS__)
#define dr_log_warn(module, ...) dr_log(DR_LOG_WARN, module, __VA_ARGS__)
#define dr_log_info(module, ...) dr_log(DR_LOG_INFO, module, __VA_ARGS__)
#define dr_log_debug(module, ...) dr_log(DR_LOG_DEBUG, module, __VA_ARGS__)

/* Which message of the jobs topic a line is about, and what became of it.  In JSON these are fields; in
 * text they stand at the end of the line. */
typedef struct dr_log_about {
    const char *job; /* the id of the job; NULL: it has none */
    int partition;
    long long offset;
    const char *code; /* dr_status_name() */
} dr_log_about;

/* Logs one line about a message.  about is borrowed for the call. */
void dr_log_job(dr_log_level level, const char *module, const dr_log_about *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Makes the line that dr_log() (about: NULL) or dr_log_job() writes, with its newline, in a buffer of at
 * least 640 bytes.  Returns the number of bytes.  It is public for tests. */
size_t dr_log_format(char *line, size_t size, bool json, long long unix_ms, dr_log_level level,
                     const char *module, const dr_log_about *about, const char *message);

#endif
