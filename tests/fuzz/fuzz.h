/* fuzz.h - programs that read what nobody has vouched for.
 *
 * A fuzzer is one file, NAME_fuzz.c, that gives LLVMFuzzerTestOneInput(); it must survive any bytes.
 * `make fuzz` links it with libFuzzer, which searches for bytes that it doesn't; replay.c runs it over
 * corpus/NAME and mutations of it, as a test. */
#ifndef DR_TESTS_FUZZ_FUZZ_H
#define DR_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path that reads as these bytes, until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

#endif
