#!/usr/bin/env bash
# Starts a private Redis, and prints its URL once it answers. The server runs until this script's
# standard input is closed. The kernel closes it when the process that started the script ends, also
# when that process is killed. The data is in a temporary folder, which is deleted at the end.
#
#   tests/private-redis.sh [--cluster] [setting=value]...      for example maxmemory=1mb
#
# With --cluster it starts three nodes, and prints three URLs.
#
# With FIRST_PORT=n it tries the port n before any other.
# Each line on standard input is a command, for all nodes, or with a number behind it only for that
# node (the first is 1). The script answers each command with a line, `done` or `failed`:
#   stop     end, and disconnect the clients; data that was not saved is lost
#   save     write the data to the disk
#   start    start again on the same port, with the data that was saved last
#   empty    start again on the same port, without data
#   freeze   stop the process, so that it hangs without an answer
#   thaw     let it go on
set -euo pipefail
# Only the end of standard input ends the script, so that it always cleans up completely.
trap '' INT HUP TERM PIPE

for program in redis-server redis-cli; do
    command -v $program >/dev/null || { echo "$program is missing: tests/install-deps.sh installs it" >&2; exit 1; }
done
count=1
cluster=()
if [ "${1:-}" = --cluster ]; then
    count=3
    cluster=(--cluster-enabled yes --cluster-config-file nodes.conf --cluster-require-full-coverage no)
    shift
fi
settings=()
for setting in "$@"; do settings+=("--${setting%%=*}" "${setting#*=}"); done

folder=$(mktemp -d "${TMPDIR:-/tmp}/facility-summary-redis.XXXXXX")
ports=() pids=()
ask() { timeout 5 redis-cli -h 127.0.0.1 -p "${ports[$1]}" "${@:2}" </dev/null 2>&1; }
signal() { kill "-$1" "${pids[$2]}" 2>/dev/null; }
clean_up() {
    exec 2>/dev/null # bash would report each process that it kills
    for node in "${!pids[@]}"; do signal KILL "$node" || true; done
    wait
    rm -rf "$folder"
}
trap clean_up EXIT

# Whether the server that answers on the port is this one. If another server has the port, that one
# answers until this one ends because it cannot bind the port.
answers() { ask "$1" INFO server | grep -q "^process_id:${pids[$1]}"$'\r'; }

# Returns once the server answers. Fails if the server ends instead.
start() {
    local node=$1 home="$folder/$1"
    mkdir -p "$home"
    redis-server --bind 127.0.0.1 --port "${ports[$node]}" --dir "$home" --save '' --appendonly no "${cluster[@]}" "${settings[@]}" \
        <&- >"$home/server.log" 2>&1 &
    pids[$node]=$!
    until answers "$node"; do
        kill -0 "${pids[$node]}" 2>/dev/null || return 1
        sleep 0.02
    done
}
stop() {
    signal CONT "$1" || true
    signal TERM "$1" || true # without save points Redis saves nothing at its end
    wait "${pids[$1]}" 2>/dev/null || true
}
save() { [ "$(ask "$1" SAVE)" = OK ]; }
empty() { rm -f "$folder/$1/dump.rdb"; start "$1"; }
freeze() { signal STOP "$1"; }
thaw() { signal CONT "$1"; }

# Tries ports until Redis can bind one. A check beforehand would race with other programs. The system
# gives no port below 32768 to outgoing connections. That also holds for the port + 10000, over which
# the nodes of a cluster communicate.
for ((node = 0; node < count; node++)); do
    for attempt in {1..20}; do
        ports[$node]=${FIRST_PORT:-$((12000 + RANDOM % 10000))}
        unset FIRST_PORT
        if start "$node"; then break; fi
        if [ "$attempt" = 20 ] || ! grep -qi 'already in use' "$folder/$node/server.log"; then
            cat "$folder/$node/server.log" >&2
            exit 1
        fi
    done
done
urls=$(printf ',redis://127.0.0.1:%s' "${ports[@]}")
if [ "$count" != 1 ]; then
    redis-cli --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-yes <&- >"$folder/create.log" 2>&1 || { cat "$folder/create.log" >&2; exit 1; }
    for node in "${!ports[@]}"; do
        until ask "$node" CLUSTER INFO | grep -q cluster_state:ok; do sleep 0.02; done
    done
fi
echo "${urls#,}"

while read -r command node; do
    nodes=("${!ports[@]}")
    if [ -n "$node" ]; then nodes=($((node - 1))); fi
    answer="done"
    for each in "${nodes[@]}"; do
        case "$command" in
        stop | save | start | empty | freeze | thaw) "$command" "$each" || answer=failed ;;
        *) answer=failed ;;
        esac
    done
    echo "$answer"
done
