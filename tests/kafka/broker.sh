#!/bin/sh
# A real Kafka broker (one node, KRaft) on this machine, for tests and for trying things by hand.
#
#     tests/kafka/broker.sh fetch               fetch the broker's jars with Maven, into build/kafka/libs
#     tests/kafka/broker.sh start [DIR] [PORT]  start an empty broker on localhost:PORT; its files are in DIR
#     tests/kafka/broker.sh stop [DIR]          end it
#     tests/kafka/broker.sh kill [DIR]          end it as a crash would
#     tests/kafka/broker.sh again [DIR]         start it again with its old data
#     tests/kafka/broker.sh tool CLASS ARG...   run one of Kafka's command-line tools, for example
#                                               org.apache.kafka.tools.TopicCommand
#
# It also listens on PORT+1 (the controller), PORT+2 (advertised as PORT+3, where a test has a proxy), PORT+4 (SASL by SCRAM-SHA-512
# or PLAIN, user darkroom, password secret) and PORT+5 (TLS, with its own certificate).
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
listeners=PLAINTEXT://localhost:$2,CONTROLLER://localhost:$(($2 + 1)),PROXIED://localhost:$(($2 + 2)),SASL://localhost:$(($2 + 4)),TLS://localhost:$(($2 + 5))
advertised.listeners=PLAINTEXT://localhost:$2,PROXIED://localhost:$(($2 + 3)),SASL://localhost:$(($2 + 4)),TLS://localhost:$(($2 + 5))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_darkroom="secret";
ssl.keystore.location=$1/tls.p12
ssl.keystore.password=secret
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
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
PROPERTIES
    echo "$2" > "$1/port"
    keytool -genkeypair -keyalg EC -groupname secp256r1 -dname CN=localhost -ext san=dns:localhost -validity 3650 \
        -alias broker -storetype PKCS12 -keystore "$1/tls.p12" -storepass secret > "$1/keytool.log" 2>&1
    # shellcheck disable=SC2086 # a list of words
    java $flags kafka.tools.StorageTool format -t darkroomTestsCluster00 -c "$1/server.properties" \
        --add-scram 'SCRAM-SHA-512=[name=darkroom,password=secret]' > "$1/format.log"
}

run() {
    # shellcheck disable=SC2086 # a list of words
    java $flags kafka.Kafka "$1/server.properties" > "$1/log" 2>&1 &
    echo $! > "$1/pid"
    port=$(cat "$1/port")
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
