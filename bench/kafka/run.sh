#!/bin/sh
# The Kafka benchmark with a broker of its own.  BUILD is the folder with the programs; arguments go to kafka_bench.
set -eu
cd "$(dirname "$0")/../.."
dir=build/kafka/bench-broker
port=$((20000 + $$ % 20000))
trap 'tests/kafka/broker.sh stop $dir' EXIT
trap 'exit 1' INT TERM
tests/kafka/broker.sh start "$dir" "$port"
"$BUILD/bench/kafka/kafka_bench" "$@" "localhost:$port" "$BUILD/darkroom"
