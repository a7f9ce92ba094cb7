#!/bin/sh
# Prints the compiler and linker flags of the libraries that we use, as make variables.
set -eu
engine="jansson libutf8proc libcrypto"
service="rdkafka libprotobuf-c vips pangocairo libpng zlib libmicrohttpd libcurl"
echo "ENGINE_CFLAGS := $(pkg-config --cflags $engine)"
echo "ENGINE_LIBS := $(pkg-config --libs $engine) -lm"
echo "SERVICE_CFLAGS := $(pkg-config --cflags $service)"
echo "SERVICE_LIBS := $(pkg-config --libs $service)"
echo "TEST_LIBS := $(pkg-config --libs cmocka)"
