#!/bin/sh
# Build a librdkafka that is newer than Debian's, with Debian's zlib, OpenSSL, zstd, lz4, Cyrus SASL and libcurl:
#
#     tools/librdkafka.sh FOLDER          FOLDER/include and FOLDER/lib, as pkg-config's prefix
#
# The source comes from the package of a registry in which librdkafka's makers ship it, by the registry's client, pinned by
# version and checksum.  Linked statically: a program that is built with it needs no file of FOLDER to run.
# A minute on two cores.
set -eu
package=@confluentinc/kafka-javascript@1.10.1
archive=confluentinc-kafka-javascript-1.10.1.tgz
sum=ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66
version=2.15.1

[ $# = 1 ] || { sed -n 's/^# \{0,1\}//p' "$0" | sed -n '1,7p'; exit 2; }
made="$(sha256sum < "$0")" # by this script as it is now
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
tools=$(cd "$(dirname "$0")" && pwd)
"$tools/setup.sh" bash zlib1g-dev libssl-dev libzstd-dev liblz4-dev libsasl2-dev libcurl4-openssl-dev

cd "$prefix"
[ "$(cat complete 2> /dev/null)" != "$made" ] || exit 0
if ! echo "$sum  $archive" | sha256sum -c --status 2> /dev/null; then
    if ! command -v npm > /dev/null; then
        echo "librdkafka: npm fetches its source, and is not here: install it (apt-get install npm)," >&2
        echo "    or put $archive into $prefix" >&2
        exit 1
    fi
    echo "librdkafka: fetching the source of $version (3 MB)"
    npm pack --silent "$package" > fetch.log 2>&1 || { cat fetch.log >&2; exit 1; }
    if ! echo "$sum  $archive" | sha256sum -c --status; then
        echo "librdkafka: $archive is not what it was: its checksum is wrong" >&2
        exit 1
    fi
fi

echo "librdkafka: building $version into $prefix (about a minute; build.log)"
rm -rf source include lib complete
mkdir source
tar xzf "$archive" -C source --strip-components=3 package/deps/librdkafka
{
    cd source
    # No option of ours must reach its make, nor its configure fetch anything.
    unset MAKEFLAGS MFLAGS MAKELEVEL LDFLAGS CPPFLAGS
    export CFLAGS="-fstack-protector-strong -fstack-clash-protection -fcf-protection -D_FORTIFY_SOURCE=2"
    ./configure --prefix="$prefix" --enable-zlib --enable-ssl --enable-zstd --enable-gssapi --enable-curl --disable-debug-symbols &&
        make -j"$(nproc)" -C src librdkafka.a &&
        mkdir -p "$prefix/include/librdkafka" "$prefix/lib/pkgconfig" &&
        cp src/rdkafka.h src/rdkafka_mock.h "$prefix/include/librdkafka" &&
        cp src/librdkafka.a "$prefix/lib" &&
        cat > "$prefix/lib/pkgconfig/rdkafka.pc" << PC
Name: librdkafka
Description: the Apache Kafka C client, static
Version: $version
Cflags: -isystem $prefix/include
Libs: $prefix/lib/librdkafka.a $(sed -n 's/^LIBS+=[^-]*//p' Makefile.config)
PC
} > build.log 2>&1 || { tail -20 build.log ../build.log >&2; exit 1; }
rm -rf source
echo "$made" > complete
