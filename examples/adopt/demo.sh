#!/usr/bin/env bash
# The database of a group of hospitals, in a private Postgres, for docs/adopt.md: it runs until Ctrl-C,
# while its own programs go on writing, and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v psql >/dev/null || { echo "psql is missing: tests/install-deps.sh installs it with Postgres" >&2; exit 1; }

coproc server { exec tests/private-postgres.sh; }
process=$server_PID
# The server ends when its input does.
end() { trap '' INT TERM; exec {server[1]}>&-; wait "$process" || true; }
trap end EXIT
trap 'exit 0' INT TERM HUP
read -r cluster <&"${server[0]}"
owner=${cluster%/*}/hospital
psql --quiet "$cluster" --command 'CREATE DATABASE hospital'
PGOPTIONS=--client-min-messages=warning psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 "$owner" --file examples/adopt/hospital.sql >/dev/null

cat <<TEXT
The database of a group of hospitals runs, and its programs write to it every second.
Type this in another terminal, and go on as docs/adopt.md shows:

  export OWNER=$owner

Ctrl-C ends it, and leaves nothing.
TEXT
while :; do
    psql --quiet --no-psqlrc "$owner" --file examples/adopt/activity.sql
    sleep 1
done
