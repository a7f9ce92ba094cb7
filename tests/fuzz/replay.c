/* replay.c - a fuzzer's corpus as a test: each file as it is, then MUTATIONS changed copies of it, which
 * are the same every time.  It needs no libFuzzer, so every compiler and sanitizer can build it.
 *
 *     build/release/tests/fuzz/weights_replay        in the root of the tree
 *
 * The corpus is found by the program's name: tests/fuzz/corpus/weights/. */
#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MUTATIONS = 1000,
    INPUT_BYTES_MAX = 1 << 16,
    NAME_MAX_BYTES = 512,
};

static uint32_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)random_state * bound >> 32);
}

/* Make one change of a kind that parsers stumble over.  size >= 1.  Returns the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const char *const TOKENS[] = { "-1", "0", "1e999", "null", "18446744073709551615",
                                          "\"", "{", "]",     ",",    "\\" };
    const size_t at = random_below((uint32_t)size), length = 1 + random_below((uint32_t)(size - at));
    const char *token = TOKENS[random_below(sizeof(TOKENS) / sizeof(TOKENS[0]))];

    switch (random_below(6)) {
    case 0: /* a bit */
        data[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 1: /* a byte */
        data[at] = (uint8_t)random_below(256);
        return size;
    case 2: /* cut off */
        return at;
    case 3: /* cut out */
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    case 4: /* twice */
        if (size + length > INPUT_BYTES_MAX)
            return size;
        memmove(data + at + length, data + at, size - at);
        return size + length;
    default: /* a word of JSON */
        memcpy(data + at, token, strlen(token) < size - at ? strlen(token) : size - at);
        return size;
    }
}

static void replay(const char *path)
{
    static uint8_t original[INPUT_BYTES_MAX], changed[INPUT_BYTES_MAX];
    FILE *f = fopen(path, "rb");
    size_t size;

    dr_assert(f);
    size = fread(original, 1, sizeof(original), f);
    dr_assert(feof(f)); /* it fits */
    fclose(f);
    LLVMFuzzerTestOneInput(original, size);
    random_state = 1;
    for (int i = 0; i < MUTATIONS; i++) {
        size_t changed_size = size;
        memcpy(changed, original, size);
        for (uint32_t times = 1 + random_below(4); times && changed_size; times--)
            changed_size = mutate(changed, changed_size);
        LLVMFuzzerTestOneInput(changed, changed_size);
    }
    printf("[       OK ] %s\n", path); /* counted by tests/run.sh, as cmocka's */
}

int main(int argc, char **argv)
{
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    char folder[NAME_MAX_BYTES], path[2 * NAME_MAX_BYTES];
    int files = 0;
    DIR *dir;

    (void)argc;
    snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%.*s", (int)strcspn(program, "_"), program);
    dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return 1;
    }
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        replay(path);
        files++;
    }
    closedir(dir);
    return files ? 0 : 1;
}
