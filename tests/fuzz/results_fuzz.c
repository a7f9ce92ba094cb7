/* Any bytes as results.jsonl: they are left alone, or hold, with a line more, after the file is written
 * anew. */
#include "worker/render/results_file.h"
#include "worker/support/files.h"

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[96];

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static void make_folder(void)
{
    /* In memory, where that is there: each write waits for the disk. */
    snprintf(folder, sizeof(folder), "%s/darkroom-fuzz-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    dr_assert(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/results.jsonl", folder);
    atexit(remove_folder);
}

static bool holds(const uint8_t *data, size_t size)
{
    void *bytes;
    size_t now;
    dr_assert(dr_file_read(path, size + 1, &bytes, &now, NULL) == DR_OK);
    const bool same = now == size && (size == 0 || memcmp(bytes, data, size) == 0);
    free(bytes);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dr_results_file *file;
    FILE *to;
    dr_error err;
    size_t count;

    if (!*path)
        make_folder();
    to = fopen(path, "w");
    dr_assert(to && fwrite(data, 1, size, to) == size && fclose(to) == 0);
    if (dr_results_open(&file, folder, &err)) {
        dr_assert(err.status == DR_EINVAL && holds(data, size));
        return 0;
    }
    dr_assert(dr_results_append(file, "new", false, "{\"id\":\"new\",\"state\":\"failed\"}", &err) == DR_OK);
    count = dr_results_count(file);
    dr_assert(dr_results_compact(file, &err) == DR_OK);
    dr_results_close(file);
    dr_assert(dr_results_open(&file, folder, &err) == DR_OK && dr_results_count(file) == count);
    json_t *json = dr_results_get(file, "new");
    dr_assert(json);
    json_decref(json);
    dr_results_close(file);
    return 0;
}
