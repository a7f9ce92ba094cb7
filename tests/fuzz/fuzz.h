/* fuzz.h - fuzzers: programs that read what others wrote.
 *
 * A fuzzer is one file, NAME_fuzz.c, that defines LLVMFuzzerTestOneInput().  It must survive any bytes.
 * `make fuzz` links it with libFuzzer, which searches for bytes that it does not survive.  As a test,
 * replay.c runs it over corpus/NAME and mutations of it. */
#ifndef DR_TESTS_FUZZ_FUZZ_H
#define DR_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Reads the bytes.  Returns 0; a bug ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of a file with these bytes.  It is valid until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

#endif
