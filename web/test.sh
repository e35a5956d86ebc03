#!/usr/bin/env bash
# Tests the client for browsers: its types are those of the service's documents, its parts, the whole
# against the real service, and the whole in a real Chromium. Nothing is left running.
#
#   SERVICE=path/to/facility-summary web/test.sh      another build than target/debug
#   CHROMIUM=path/to/chromium web/test.sh             another one than /usr/bin/chromium
set -euo pipefail
cd "$(dirname "$0")/.."
time_limit_seconds=300 # it takes half a minute; after this time something hangs

if [ -z "${SERVICE:-}" ]; then
    cargo build --quiet --locked
    SERVICE=${CARGO_TARGET_DIR:-target}/debug/facility-summary
fi
SERVICE=$(realpath "$SERVICE")
export SERVICE
cd web

# What the lock file names, once, and again when it has changed. The copy is written last, so that an
# installation that broke off is repeated.
if ! cmp -s package-lock.json node_modules/installed.json; then
    npm ci --ignore-scripts --loglevel=error
    cp package-lock.json node_modules/installed.json
fi
npm run --silent build

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$SERVICE" openapi >"$folder/openapi.json"
node scripts/types.js --check "$folder/openapi.json"

timeout --foreground "$time_limit_seconds" node --test tests/unit/*.test.js tests/service/*.test.js tests/browser/*.test.js
