# For scripts that hold a running service to a tool from PyPI; they `source` this file. It sets
# `venv`, where the tool is, and `folder`, the working directory, which goes when the script ends.

# install_tool FOLDER: installs what FOLDER/requirements.txt pins, once, and again when that file has
# changed. The copy of the file is written last, so that an installation that broke off is repeated.
install_tool() {
    venv=$PWD/target/$(basename "$1")
    if ! cmp -s "$1/requirements.txt" "$venv/installed.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$1/requirements.txt"
        cp "$1/requirements.txt" "$venv/installed.txt"
    fi
}

# start_service [NAME=VALUE]...: starts the built binary on SQLite with these settings, and sets
# `service`, its process id. SERVICE names another binary than target/debug has. The service ends with
# the script, also when the script is killed (setpriv).
start_service() {
    if [ -z "${SERVICE:-}" ]; then
        cargo build --quiet
        SERVICE=${CARGO_TARGET_DIR:-target}/debug/facility-summary
    fi
    SERVICE=$(realpath "$SERVICE")
    folder=$(mktemp -d)
    cd "$folder" # the tool and the service write files into their working directory
    service=
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    env "DATABASE_URL=sqlite://$folder/facility-summary.db" BIND_ADDR=127.0.0.1:0 FACILITY_SUMMARY__LOG__FORMAT=json \
        FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE=0 "$@" \
        setpriv --pdeathsig KILL -- "$SERVICE" serve >"$folder/service.log" 2>&1 </dev/null &
    service=$!
}

clean_up() {
    local code=$?
    if [ -n "$service" ]; then kill "$service" 2>/dev/null && wait "$service" || true; fi
    if [ "$code" != 0 ]; then
        echo "--- the end of the service's log" >&2
        tail -n 30 "$folder/service.log" >&2 || true
    fi
    cd / && rm -rf "$folder"
}
