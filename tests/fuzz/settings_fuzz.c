/* Any bytes as a config file: each setting that is accepted is in its range, and each fault is told with
 * its line. */
#include "worker/settings/config.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    dr_config config;
    dr_error err;
    dr_status rc;

    dr_assert(dr_config_open(&config, &err) == DR_OK);
    rc = dr_config_read_file(&config, path, &err);
    dr_assert(!rc || strstr(err.text, path)); /* "PATH:LINE: ..." */
    dr_assert(config.batch_max >= 1 && config.models && config.brokers);
    for (size_t i = 0; i < config.kafka_count; i++)
        dr_assert(*config.kafka[i].key && config.kafka[i].value);
    dr_config_close(&config);
    return 0;
}
