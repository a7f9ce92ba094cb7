#!/bin/sh
# Fetch the drawings and their names from npm into the folder given (build/tiny/packages):
# about 25 MB. Nothing of it is committed; models/tiny/README.md names the licences.
#   noto      Noto Emoji as SVG, Apache-2.0
#   twemoji   Twemoji as SVG, CC-BY 4.0
#   names     names, short names and categories of emoji, MIT
set -eu
out=${1:-build/tiny/packages}

get() { # folder, package
    mkdir -p "$out/$1"
    archive=$(npm pack --silent --pack-destination "$out" "$2")
    tar -xzf "$out/$archive" -C "$out/$1" --strip-components 1
    rm "$out/$archive"
}

get noto @iconify-json/noto@1.2.9
get twemoji @iconify-json/twemoji@1.2.5
get names emoji-datasource-google@16.0.0
