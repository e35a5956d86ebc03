#!/usr/bin/env bash
# The same as run.sh with sign-in, as each role and as nobody, with fewer requests each: whoever asks,
# an answer has a status, a content type and a body that the document names. Starts the built binary on
# SQLite in a temporary folder, and stops it in any case.
#
#   tests/schemathesis/roles.sh [option of `schemathesis run`]...
#   ROLES="viewer admin" tests/schemathesis/roles.sh
#   SERVICE=path/to/facility-summary tests/schemathesis/roles.sh      another build than target/debug
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/schemathesis
time_limit_seconds=900 # of each role; a run takes some twenty seconds

source tests/against-service.sh
install_tool "$here"
start_service FACILITY_SUMMARY__AUTH__SIGN_IN=on FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=300

key() { DATABASE_URL="sqlite://$folder/facility-summary.db" "$SERVICE" key add --name schemathesis "$@" 2>/dev/null; }
# The service makes the tables when it starts.
until admin=$(key --role admin) && [ -n "$admin" ]; do kill -0 "$service"; sleep 0.1; done
export CREDENTIAL=$admin # for prepare.py
address=$("$venv/bin/python" "$here/prepare.py" "$folder/service.log" "$service")
own=018f6a3e-0000-7000-8000-000000000001 # one of the two that schemathesis.toml names

for role in ${ROLES:-nobody viewer operator service admin}; do
    case $role in
        nobody) credential=() ;;
        viewer | operator) credential=(--header "Authorization: Bearer $(key --role "$role" --facility $own)") ;;
        *) credential=(--header "Authorization: Bearer $(key --role "$role")") ;;
    esac
    echo "as $role"
    timeout --foreground "$time_limit_seconds" "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" --no-color \
        run "http://$address/openapi.json" --request-timeout 10 --workers 2 --max-examples 5 "${credential[@]}" "$@"
    kill -0 "$service" 2>/dev/null || { echo "the service did not survive" >&2; exit 1; }
done
