/* temp_folder.h - a folder for one test program, with what it writes there; gone at the end.
 *
 *     temp_open(&t);
 *     const char *path = temp_write(&t, "unet/config.json", text, strlen(text));
 *     temp_close(&t);
 *
 * Everything asserts: a test without its files has no meaning. */
#ifndef DR_TESTS_SUPPORT_TEMP_FOLDER_H
#define DR_TESTS_SUPPORT_TEMP_FOLDER_H

#include <fts.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* wants the four standard headers before it */

typedef struct temp_folder {
    char path[64];
    char file[PATH_MAX]; /* what the last call named */
} temp_folder;

static inline void temp_open(temp_folder *t)
{
    strcpy(t->path, "/tmp/darkroom-test-XXXXXX");
    assert_non_null(mkdtemp(t->path));
}

static inline const char *temp_path(temp_folder *t, const char *name)
{
    assert_true(snprintf(t->file, sizeof(t->file), "%s/%s", t->path, name) < (int)sizeof(t->file));
    return t->file;
}

/* Write a file, and the folders on its way. */
static inline const char *temp_write(temp_folder *t, const char *name, const void *bytes, size_t count)
{
    FILE *f;

    temp_path(t, name);
    for (char *slash = t->file + strlen(t->path) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(t->file, 0755);
        *slash = '/';
    }
    f = fopen(t->file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
    return t->file;
}

static inline void temp_close(temp_folder *t)
{
    FTS *tree = fts_open((char *[]){ t->path, NULL }, FTS_PHYSICAL, NULL);

    assert_non_null(tree);
    for (FTSENT *entry; (entry = fts_read(tree));)
        if (entry->fts_info != FTS_D) /* a folder comes again, as FTS_DP, once it is empty */
            assert_int_equal(remove(entry->fts_accpath), 0);
    fts_close(tree);
}

#endif
