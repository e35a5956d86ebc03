#!/usr/bin/env bash
# Has REDbot look at an answer of each route that is read: it must find nothing wrong or doubtful, in caching, validators and encodings.
# Starts the built binary on SQLite in a temporary folder, and stops it whatever happens.
#
#   SERVICE=path/to/facility-summary tests/redbot/run.sh      another build than target/debug
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/redbot
time_limit_seconds=60 # for one URL; it takes a second

source tests/against-service.sh
install_tool "$here"
start_service

# Registers what schemathesis.toml names, too, and prints the service's address.
address=$("$venv/bin/python" "$here/../schemathesis/prepare.py" "$folder/service.log" "$service")
base=http://$address
facility=$(curl -sf "$base/v1/facilities?limit=1" | "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["items"][0]["facility_id"])')
yesterday=$(date -u -d '2 days ago' +%F)
run=$(curl -sf -X POST "$base/v1/rebuild" -o /dev/null -w '%header{location}')

days=/v1/facilities/$facility/summaries
paths=(
    "$days/today" "$days/$yesterday" "$days" "$days?from=$yesterday" "$days?limit=3" "$days?from=$(date -u -d '90 days ago' +%F)"
    /v1/summaries/today "/v1/summaries/today?sort=-total_stock&limit=2" "/v1/summaries/$yesterday"
    /v1/facilities "/v1/facilities?limit=1" "/v1/facilities/$facility" "$run"
    /v1/auth/me /v1/auth/sessions /v1/auth/sign-in /v1/auth/callback /v1/api-keys /v1/denied-principals /v1/audit-log /.well-known/oauth-protected-resource /health/live /health/ready /metrics /openapi.json /docs/ /docs/swagger-ui.css /docs/swagger-ui-bundle.js /
    # Errors are answers, too. (Of a 400 REDbot says only that the request was wrong.)
    /v1/facilities/00000000-0000-4000-8000-000000000000 "$days/2999-01-01" /none /v1/live
    # A stream of events has no end, and REDbot waits for one; what is refused is a short one with the same headers.
    /v1/stream
)
failed=0
for path in "${paths[@]}"; do
    timeout --foreground "$time_limit_seconds" "$venv/bin/python" "$here/check.py" "$base$path" || failed=$((failed + 1))
done
kill -0 "$service" 2>/dev/null || { echo "the service did not survive" >&2; exit 1; }
[ $failed = 0 ] || { echo "REDbot finds faults in $failed of ${#paths[@]} answers" >&2; exit 1; }
echo "REDbot finds nothing in ${#paths[@]} answers"
