#!/bin/sh
# Builds a newer librdkafka than Debian's, with Debian's zlib, OpenSSL, zstd, lz4, Cyrus SASL and libcurl:
#
#     tools/librdkafka.sh FOLDER          makes FOLDER/include and FOLDER/lib, a prefix for pkg-config
#
# npm fetches the source, from the package in which librdkafka's makers ship it, pinned by version and checksum.  Programs link
# this library statically, so they need no file of FOLDER to run.  It takes a minute on two cores.
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
        echo "librdkafka: npm, which fetches the source, is missing: install it (apt-get install npm)," >&2
        echo "    or put $archive into $prefix" >&2
        exit 1
    fi
    echo "librdkafka: fetching the source of $version (3 MB)"
    npm pack --silent "$package" > fetch.log 2>&1 || { cat fetch.log >&2; exit 1; }
    if ! echo "$sum  $archive" | sha256sum -c --status; then
        echo "librdkafka: $archive has a wrong checksum" >&2
        exit 1
    fi
fi

echo "librdkafka: building $version into $prefix (about a minute; build.log)"
rm -rf source include lib complete
mkdir source
tar xzf "$archive" -C source --strip-components=3 package/deps/librdkafka
{
    cd source
    # None of our options may reach its make, and its configure must not fetch anything.
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
