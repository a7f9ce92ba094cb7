#!/bin/sh
# A real Kafka broker (one node, KRaft) on this machine, for tests and for trying things by hand.
#
#     tests/kafka/broker.sh fetch               the broker's jars, by Maven, to build/kafka/libs
#     tests/kafka/broker.sh start [DIR] [PORT]  an empty broker on localhost:PORT; its files in DIR
#     tests/kafka/broker.sh stop [DIR]
#     tests/kafka/broker.sh kill [DIR]          without goodbye
#     tests/kafka/broker.sh again [DIR]         start what was stopped or killed, with what it had
#     tests/kafka/broker.sh tool CLASS ARG...   one of Kafka's command-line tools, such as
#                                               org.apache.kafka.tools.TopicCommand
#
# Needs a Java runtime (17 or newer), and Maven to fetch.  DIR is build/kafka/broker, PORT 9092.
set -eu
cd "$(dirname "$0")/../.."
libs=build/kafka/libs

fetch() {
    [ -e "$libs/complete" ] && return
    mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
        "-DoutputDirectory=$PWD/$libs"
    touch "$libs/complete"
}

export CLASSPATH="$libs/*"
flags="-Xmx${KAFKA_HEAP:-512m} -Dorg.apache.logging.log4j.level=WARN -XX:+UseSerialGC -XX:TieredStopAtLevel=1"

configure() {
    cat > "$1/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:$(($2 + 1))
listeners=PLAINTEXT://localhost:$2,CONTROLLER://localhost:$(($2 + 1))
advertised.listeners=PLAINTEXT://localhost:$2
controller.listener.names=CONTROLLER
log.dirs=$1/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
PROPERTIES
    # shellcheck disable=SC2086 # a list of words
    java $flags kafka.tools.StorageTool format -t darkroomTestsCluster00 -c "$1/server.properties" > "$1/format.log"
}

run() {
    # shellcheck disable=SC2086 # a list of words
    java $flags kafka.Kafka "$1/server.properties" > "$1/log" 2>&1 &
    echo $! > "$1/pid"
    port=$(sed -n 's/^advertised.listeners=.*://p' "$1/server.properties")
    for _ in $(seq 300); do
        if is_listening "$port"; then
            return
        fi
        kill -0 "$(cat "$1/pid")" 2>/dev/null || break
        sleep 0.1
    done
    echo "broker.sh: the broker did not start; see $1/log" >&2
    exit 1
}

is_listening() {
    # local address:port, remote one, state 0A: LISTEN
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") [0-9A-F]*:0000 0A "
}

end() {
    [ -e "$1/pid" ] || return 0
    kill "-$2" "$(cat "$1/pid")" 2>/dev/null || true
    while kill -0 "$(cat "$1/pid")" 2>/dev/null; do sleep 0.1; done
    rm -f "$1/pid"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
fetch) fetch ;;
tool)
    fetch
    # shellcheck disable=SC2086 # a list of words
    java $flags "$@"
    ;;
start | again | stop | kill)
    dir=${1:-build/kafka/broker}
    case $command in
    start)
        fetch
        end "$dir" KILL
        rm -rf "$dir"
        mkdir -p "$dir"
        dir=$(cd "$dir" && pwd)
        configure "$dir" "${2:-9092}"
        run "$dir"
        ;;
    again) run "$(cd "$dir" && pwd)" ;;
    stop) end "$dir" TERM ;;
    kill) end "$dir" KILL ;;
    esac
    ;;
*)
    sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,12p'
    exit 2
    ;;
esac
