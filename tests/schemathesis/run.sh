#!/usr/bin/env bash
# Holds the running service to its own /openapi.json: no 5xx but 503, and no undocumented status, content type or body.
# Starts the built binary on SQLite in a temporary folder, and stops it whatever happens.
#
#   tests/schemathesis/run.sh [option of `schemathesis run`]...     for example --include-path /v1/events --seed 7
#   SERVICE=path/to/facility-summary tests/schemathesis/run.sh      another build than target/debug
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/schemathesis
venv=$PWD/target/schemathesis
time_limit_seconds=900 # it takes a few minutes; beyond that something hangs

# Installed once; a changed pin installs again. The stamp comes last: a broken installation is not mistaken for a done one.
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi

if [ -z "${SERVICE:-}" ]; then
    cargo build --quiet
    SERVICE=${CARGO_TARGET_DIR:-target}/debug/facility-summary
fi
SERVICE=$(realpath "$SERVICE")

folder=$(mktemp -d)
cd "$folder" # for what the tool and the service leave in their working directory
service=
clean_up() {
    local code=$?
    if [ -n "$service" ]; then kill "$service" 2>/dev/null && wait "$service" || true; fi
    if [ "$code" != 0 ]; then
        echo "--- the end of the service's log" >&2
        tail -n 30 "$folder/service.log" >&2 || true
    fi
    cd / && rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# setpriv: the service dies with this script even if that is killed outright. A random min_version is never reached: what is to be
# seen is the 503, not the wait for it.
DATABASE_URL=sqlite://$folder/facility-summary.db BIND_ADDR=127.0.0.1:0 FACILITY_SUMMARY__LOG__FORMAT=json \
    FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=300 \
    setpriv --pdeathsig KILL -- "$SERVICE" serve >"$folder/service.log" 2>&1 </dev/null &
service=$!

# Waits until the service listens and is ready, registers what schemathesis.toml names, and prints the service's address.
address=$("$venv/bin/python" "$here/prepare.py" "$folder/service.log" "$service")

timeout --foreground "$time_limit_seconds" "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" --no-color \
    run "http://$address/openapi.json" --request-timeout 10 --workers 2 "$@"
kill -0 "$service" 2>/dev/null || { echo "the service did not survive" >&2; exit 1; }
