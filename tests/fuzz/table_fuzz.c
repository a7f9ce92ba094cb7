/* Any bytes as a jobs file, as JSON Lines and as a table: what is there is told once, and as often as it is
 * counted. */
#include "worker/render/jobs_file.h"

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/darkroom-fuzz-XXXXXX", table[64];

static void remove_folder(void)
{
    unlink(table);
    rmdir(folder);
}

/* A name that ends in .csv for what fuzz_file() gives. */
static const char *as_table(const char *path)
{
    if (!*table) {
        dr_assert(mkdtemp(folder));
        snprintf(table, sizeof(table), "%s/jobs.csv", folder);
        dr_assert(symlink(path, table) == 0);
        atexit(remove_folder);
    }
    return table;
}

static void read_jobs(const char *path)
{
    dr_jobs_file *file;
    dr_jobs_entry e;
    dr_error err;
    long count = 0, line = 0;

    if (dr_jobs_file_open(&file, path, "line-", &err))
        return;
    while (dr_jobs_file_next(file, &e)) {
        count++;
        dr_assert(e.line > line && e.last_line >= e.line);
        dr_assert(e.job && e.job->id && (e.rc || e.job->complete));
        dr_assert(!e.rc || *e.err.text);
        line = e.last_line;
        dr_job_free(e.job);
    }
    dr_assert(dr_jobs_file_status(file, &err) == DR_OK);
    dr_assert(count == dr_jobs_file_count(file));
    dr_jobs_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);

    read_jobs(path);
    read_jobs(as_table(path));
    return 0;
}
