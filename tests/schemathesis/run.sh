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
time_limit_seconds=900 # a run takes a few minutes; after this time something hangs

source tests/against-service.sh
install_tool "$here"
# No facility ever has a random min_version, so the time-out is short: the test needs the 503, and not
# the wait for it.
start_service FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=300 FACILITY_SUMMARY__REFRESH__VERIFY_DIFFERENCES=on

# Waits until the service listens and is ready, registers the facilities that schemathesis.toml names,
# and prints the service's address.
address=$("$venv/bin/python" "$here/prepare.py" "$folder/service.log" "$service")

timeout --foreground "$time_limit_seconds" "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" --no-color \
    run "http://$address/openapi.json" --request-timeout 10 --workers 2 "$@"
kill -0 "$service" 2>/dev/null || { echo "the service did not survive" >&2; exit 1; }
