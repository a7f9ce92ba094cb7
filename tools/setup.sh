#!/bin/sh
# Installs those of the Debian packages in its arguments that are missing.  It first says what it will install.  Without root it
# prints the one command to run, and fails.
set -eu
missing=
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "setup: Debian packages to install:$missing"
if [ "$(id -u)" != 0 ]; then
    echo "setup: not root. Run this, then make again:"
    echo "    sudo apt-get install -y --no-install-recommends$missing"
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install --print-uris -qq -y --no-install-recommends $missing |
    awk '{ bytes += $3 } END { printf "setup: %.1f MB to fetch, which takes a minute or two\n", bytes / 1e6 }'
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "setup: done"
