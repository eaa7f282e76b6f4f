#!/usr/bin/env bash
# Debian's chromium, for tests/browser: installed where this is root on Debian and there is none. Elsewhere the tests say
# why they skip.
set -euo pipefail
if command -v chromium >/dev/null || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null
