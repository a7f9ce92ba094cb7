/* results_file.h - OUT/results.jsonl: a line a result, and the last line of an id counts.
 *
 *     {"id":"fox","state":"failed",...}
 *     {"id":"fox","state":"succeeded",...}        this one; the other goes when the file is compacted
 *
 * One process at a time has it, by a lock on the folder.  A file with lines that are none of ours is left alone.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RESULTS_FILE_H
#define DR_WORKER_RENDER_RESULTS_FILE_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct dr_results_file dr_results_file;

/* Make the folder where it is not there, lock it, read the file.  DR_EIO, retriable, where another process has it;
 * DR_EINVAL, with the line, where the file is not Darkroom's: nothing is changed then.  Half a line at the end, of a run
 * that was ended, is cut off. */
dr_status dr_results_open(dr_results_file **out, const char *folder, dr_error *err);
/* To be looked at: nothing is made, locked or changed, and a folder or a file that is not there has no results.  Not for
 * dr_results_append() and dr_results_compact(). */
dr_status dr_results_look(dr_results_file **out, const char *folder, dr_error *err);
void dr_results_close(dr_results_file *file); /* NULL is allowed */

bool dr_results_has(const dr_results_file *file, const char *id);
bool dr_results_succeeded(const dr_results_file *file, const char *id); /* its last line says so */
size_t dr_results_count(const dr_results_file *file);                   /* of ids */
size_t dr_results_failures(const dr_results_file *file);                /* of ids that have not succeeded */
/* The last line about an id, as JSON: a new reference; NULL: there is none, or it can't be read any more. */
json_t *dr_results_get(const dr_results_file *file, const char *id);

/* line: a JSON object without a newline, about id, whose "state" says whether it succeeded.  On the disk when the call returns, or not in the file. */
dr_status dr_results_append(dr_results_file *file, const char *id, bool succeeded, const char *line,
                            dr_error *err);

/* Where lines are there that no longer count: write the file anew without them, in place of the old one.  The last call
 * before dr_results_close(). */
dr_status dr_results_compact(dr_results_file *file, dr_error *err);

#endif
