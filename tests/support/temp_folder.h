/* temp_folder.h - a folder below /tmp for one test program, and the files that the program writes there.
 *
 *     temp_open(&t);
 *     const char *path = temp_write(&t, "unet/config.json", text, strlen(text));
 *     temp_close(&t);
 *
 * A program with one folder for all its tests says TEMP_FOLDER_OF_GROUP(folder) at its top, and runs its
 * tests with the group's setup open_temp and teardown close_temp.
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

/* Make the folder.  temp_close() removes it. */
static inline void temp_open(temp_folder *t)
{
    strcpy(t->path, "/tmp/darkroom-test-XXXXXX");
    assert_non_null(mkdtemp(t->path));
}

/* The path of a file or folder of this name, which need not exist.  Valid until the next call with this t. */
static inline const char *temp_path(temp_folder *t, const char *name)
{
    assert_true(snprintf(t->file, sizeof(t->file), "%s/%s", t->path, name) < (int)sizeof(t->file));
    return t->file;
}

/* Write a file, and make the folders above it.  Returns its path, valid until the next call with this t. */
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

/* Remove the folder and everything in it. */
static inline void temp_close(temp_folder *t)
{
    FTS *tree = fts_open((char *[]){ t->path, NULL }, FTS_PHYSICAL, NULL);

    assert_non_null(tree);
    for (FTSENT *entry; (entry = fts_read(tree));)
        if (entry->fts_info != FTS_D) /* a folder comes again, as FTS_DP, once it is empty */
            assert_int_equal(remove(entry->fts_accpath), 0);
    fts_close(tree);
}

#define TEMP_FOLDER_OF_GROUP(name)      \
    static temp_folder name;            \
    static int open_temp(void **state)  \
    {                                   \
        (void)state;                    \
        temp_open(&(name));             \
        return 0;                       \
    }                                   \
    static int close_temp(void **state) \
    {                                   \
        (void)state;                    \
        temp_close(&(name));            \
        return 0;                       \
    }

#endif
