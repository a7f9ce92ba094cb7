#!/bin/sh
# Runs the tests that need a real broker, as one program for tests/run.sh.  BUILD is the folder with the programs.  An argument
# is a pattern for the names of the tests to run.  Without Java or a broker it leaves with code 77; the last line says why.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release}
dir=build/kafka/test-broker

if ! command -v java > /dev/null; then
    echo "no java: the tests against a real Kafka broker need openjdk-17-jre-headless and maven"
    exit 77
fi
if [ ! -e build/kafka/libs/complete ]; then
    if ! command -v mvn > /dev/null; then
        echo "no mvn, which fetches the Kafka broker: install maven"
        exit 77
    fi
    if ! tests/kafka/broker.sh fetch > build/kafka-fetch.log 2>&1; then
        echo "the Kafka broker could not be fetched: see build/kafka-fetch.log"
        exit 77
    fi
fi

# A port on which nobody listens (state 0A), below the ports that the kernel hands out by itself.
port=$((20000 + $$ % 10000))
while cat /proc/net/tcp /proc/net/tcp6 2> /dev/null | grep -q ":$(printf %04X "$port") [0-9A-F:]* 0A "; do
    port=$((port + 1))
done
trap 'tests/kafka/broker.sh stop $dir' EXIT
trap 'exit 1' INT TERM
tests/kafka/broker.sh start "$dir" "$port" || exit 1
rm -f build/kafka/test-*.log
export TEST_BROKERS="localhost:$port" TEST_PROGRAM="$build/darkroom"
status=0
for source in tests/kafka/*_test.c; do
    "$build/${source%.c}" "$@" || status=1
done
# The benchmark with its smallest case, so that it keeps working.
if [ $# = 0 ]; then
    "$build/bench/kafka/kafka_bench" --quick "$TEST_BROKERS" "$TEST_PROGRAM" || status=1
fi
exit $status
