#!/bin/sh
# The tests against a real broker, as one program for tests/run.sh.  BUILD is the folder with the
# programs; an argument is a pattern of the tests' names.  Leaves with 77, and the reason on its last line,
# where there is no Java or no broker to be had.
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
        echo "no mvn to fetch the Kafka broker with: install maven"
        exit 77
    fi
    if ! tests/kafka/broker.sh fetch > build/kafka-fetch.log 2>&1; then
        echo "the Kafka broker could not be fetched: see build/kafka-fetch.log"
        exit 77
    fi
fi

# One that nobody listens on (0A, in hexadecimal), below those that are given to whoever asks for any.
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
# The benchmark on its smallest, so that it goes on building and running.
if [ $# = 0 ]; then
    "$build/bench/kafka/kafka_bench" --quick "$TEST_BROKERS" "$TEST_PROGRAM" || status=1
fi
exit $status
