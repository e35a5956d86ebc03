#!/usr/bin/env bash
# Compares the answers of the running service with its own /openapi.json: no 5xx except 503, and no
# undocumented status, content type or body. Starts the built binary on SQLite in a temporary folder,
# and stops it in any case.
#
#   tests/schemathesis/run.sh [option of `schemathesis run`]...     for example --include-path /v1/events --seed 7
#   SERVICE=path/to/facility-summary tests/schemathesis/run.sh      another build than target/debug
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/schemathesis
venv=$PWD/target/schemathesis
time_limit_seconds=900 # a run takes a few minutes; after this time something hangs

# Installs the tool once, and again when requirements.txt has changed. The copy of that file is written
# last, so that an installation that broke off is repeated.
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
cd "$folder" # the tool and the service write files into their working directory
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

# setpriv ends the service when this script ends, also when the script is killed. No facility ever has
# a random min_version, so the time-out is short: the test needs the 503, and not the wait for it.
DATABASE_URL=sqlite://$folder/facility-summary.db BIND_ADDR=127.0.0.1:0 FACILITY_SUMMARY__LOG__FORMAT=json \
    FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=300 FACILITY_SUMMARY__REFRESH__VERIFY_DIFFERENCES=on \
    setpriv --pdeathsig KILL -- "$SERVICE" serve >"$folder/service.log" 2>&1 </dev/null &
service=$!

# Waits until the service listens and is ready, registers the facilities that schemathesis.toml names,
# and prints the service's address.
address=$("$venv/bin/python" "$here/prepare.py" "$folder/service.log" "$service")

timeout --foreground "$time_limit_seconds" "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" --no-color \
    run "http://$address/openapi.json" --request-timeout 10 --workers 2 "$@"
kill -0 "$service" 2>/dev/null || { echo "the service did not survive" >&2; exit 1; }
