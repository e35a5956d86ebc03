#!/usr/bin/env bash
# A Redis of one's own: prints its URL once it answers and lives exactly as long as this script's standard input is open, so that it goes
# when whoever started it goes, however that died. Its data lies in a temporary folder that goes with it.
#
#   tests/private-redis.sh [--cluster] [setting=value]...      for example maxmemory=1mb; a cluster has three nodes, and prints three URLs
#
# FIRST_PORT=n is tried before any other port.
# Lines on standard input command it, or with a number only that node (the first is 1); each is answered by a line, `done` or `failed`:
#   stop     end, cutting off its clients; what was not saved is lost      save    write what it holds to its disk
#   start    start again: same port, with what was last saved              empty   start again: same port, with nothing
#   freeze   hang without an answer                                        thaw    go on
set -euo pipefail
trap '' INT HUP TERM PIPE # only the end of standard input ends it, so that nothing is left behind half-way

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
    exec 2>/dev/null # bash would tell of each that it killed
    for node in "${!pids[@]}"; do signal KILL "$node" || true; done
    wait
    rm -rf "$folder"
}
trap clean_up EXIT

# Whether the server that answers on the port is this one. Where another has the port, that one answers until this one has given up.
answers() { ask "$1" INFO server | grep -q "^process_id:${pids[$1]}"$'\r'; }

# Answers once the server does; fails when it ends instead.
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
    signal TERM "$1" || true # without save points it saves nothing
    wait "${pids[$1]}" 2>/dev/null || true
}
save() { [ "$(ask "$1" SAVE)" = OK ]; }
empty() { rm -f "$folder/$1/dump.rdb"; start "$1"; }
freeze() { signal STOP "$1"; }
thaw() { signal CONT "$1"; }

# A port is free when Redis could take it: asking beforehand would race. Below 32768 no outgoing connection takes one, nor the one 10000
# above it, on which the nodes of a cluster talk to each other.
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
