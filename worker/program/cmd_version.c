/* cmd_version.c - `darkroom version`: which Darkroom this is, and which libraries it uses. */
#include "worker/program/commands.h"

#include <darkroom/version.h>

#include <librdkafka/rdkafka.h>
#include <protobuf-c/protobuf-c.h>
#include <vips/vips.h>

static int run(dr_cli *cli)
{
    (void)cli;
    printf("darkroom %s\nlibrdkafka %s\nprotobuf-c %s\nlibvips %s\n", dr_version(), rd_kafka_version_str(),
           protobuf_c_version(), vips_version_string());
    return DR_EXIT_DONE;
}

const dr_command dr_cmd_version = {
    .name = "version",
    .summary = "Say which Darkroom this is, and which libraries it uses",
    .example = "darkroom version",
    .run = run,
};
