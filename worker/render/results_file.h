/* results_file.h - OUT/results.jsonl: a line for each result.  The last line of an id counts.
 *
 *     {"id":"fox","state":"failed",...}
 *     {"id":"fox","state":"succeeded",...}        this one; the other goes when the file is compacted
 *
 * One process at a time has the file, by a lock on the folder.  A file with other lines is left alone.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RESULTS_FILE_H
#define DR_WORKER_RENDER_RESULTS_FILE_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct dr_results_file dr_results_file;

/* Make the folder where it is not there, lock it, and read the file.  Half a line at the end, which a
 * killed process left, is cut off.  On success *out is the caller's; on failure it is NULL.  DR_EIO,
 * retriable: another process has the folder. DR_EINVAL: the file has a line that Darkroom does not write;
 * nothing is changed. */
dr_status dr_results_open(dr_results_file **out, const char *folder, dr_error *err);
/* The same, only to be looked at: nothing is made, locked or changed, and dr_results_append() and
 * dr_results_compact() must not be called.  A folder or a file that is not there has no results. */
dr_status dr_results_look(dr_results_file **out, const char *folder, dr_error *err);
void dr_results_close(dr_results_file *file); /* NULL is allowed */

/* Whether an id has a line, and whether its last line says that it succeeded. */
bool dr_results_has(const dr_results_file *file, const char *id);
bool dr_results_succeeded(const dr_results_file *file, const char *id);
/* How many ids there are, and how many of them have not succeeded. */
size_t dr_results_count(const dr_results_file *file);
size_t dr_results_failures(const dr_results_file *file);
/* The last line of an id, as a new reference.  NULL: there is none, or it can't be read any more. */
json_t *dr_results_get(const dr_results_file *file, const char *id);

/* Add a line for an id: a JSON object without a newline, whose "state" is "succeeded" where `succeeded` is
 * true.  When the call returns, the line is on the disk; on failure it is not in the file. */
dr_status dr_results_append(dr_results_file *file, const char *id, bool succeeded, const char *line,
                            dr_error *err);

/* Replace the file by one without the lines that do not count, if there are any.  Only dr_results_close()
 * may follow. */
dr_status dr_results_compact(dr_results_file *file, dr_error *err);

#endif
