#!/usr/bin/env bash
# Starts a private Postgres, and prints its URL once it accepts connections. The server runs until
# this script's standard input is closed. The kernel closes it when the process that started the
# script ends, also when that process is killed. The cluster is in a temporary folder, which is
# deleted at the end.
#
#   tests/private-postgres.sh [--standby-of URL] [setting=value]...      for example fsync=on max_connections=50
#
# With --standby-of the server is a standby of a running cluster. URL is what this script printed for
# that cluster.
# Each line on standard input is a command. The script answers it with a line, `done` or `failed`:
#   stop     shut down, and disconnect the clients  start    start again with the same data and port
#   crash    stop without a checkpoint, as when the machine fails
#   freeze   stop all processes of the server, so that it hangs without an answer
#   thaw     let them go on
#   promote  make the standby a primary             demote   restart the server as a standby
#   backup   keep a base backup of the running server
#   copy     keep a copy of the files of the stopped server
#   restore  replace the files of the stopped server by the last backup or copy
#
# Durability is off unless a setting turns it on (`fsync=on`). Only tests that crash the server need it.
set -euo pipefail
primary=""
if [ "${1:-}" = --standby-of ]; then primary=$2 && shift 2; fi
# Only the end of standard input ends the script, so that it always cleans up completely.
trap '' INT HUP TERM PIPE

server_programs() {
    local candidate
    for candidate in "$(dirname "$(command -v postgres || echo /)")" $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV); do
        # Follows links, since the other programs are beside the real `postgres`.
        candidate=$(dirname "$(readlink -f "$candidate/postgres")")
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "no Postgres server programs in PATH or /usr/lib/postgresql/*/bin: tests/install-deps.sh installs them" >&2
    return 1
}

# Postgres refuses to run as root, so root starts it as another user.
as_server_user=()
if [ "$(id -u)" = 0 ]; then
    user=nobody
    if id postgres >/dev/null 2>&1; then user=postgres; fi
    as_server_user=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups --)
fi

bin=$(server_programs)
folder=$(mktemp -d "${TMPDIR:-/tmp}/facility-summary-postgres.XXXXXX")
if [ -n "${user:-}" ]; then chown "$user" "$folder"; fi
cd "$folder"
control() { "${as_server_user[@]}" "$bin/pg_ctl" --pgdata="$folder/data" --silent "$@" <&- >>"$folder/control.log" 2>&1; }
# Signals the postmaster first: it must not run while its children are stopped.
signal_all() { local leader; leader=$(head -1 data/postmaster.pid) && kill "-$1" "$leader" $(ps -o pid= --ppid "$leader"); }
clean_up() {
    signal_all CONT 2>/dev/null || true
    control --mode=immediate stop || true
    cd / && rm -rf "$folder"
}
trap clean_up EXIT

echo postgres >password
if [ -n "$primary" ]; then
    make=("$bin/pg_basebackup" --dbname="$primary" --pgdata="$folder/data" --write-recovery-conf --checkpoint=fast --no-sync)
else
    make=("$bin/initdb" --pgdata="$folder/data" --username=postgres --auth=scram-sha-256 --pwfile="$folder/password" --encoding=UTF8 --no-locale --no-sync)
fi
"${as_server_user[@]}" "${make[@]}" >make.log 2>&1 <&- || { cat make.log >&2; exit 1; }
{
    printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$folder'" 'max_connections = 400' 'fsync = off' \
        'full_page_writes = off' 'max_wal_size = 4GB' 'timezone = UTC' \
        "search_path = 'facility_summary, public'" # sessions find the service's tables without naming their schema
    for setting in "$@"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done # of a repeated setting the last one counts
} >>data/postgresql.conf

# Tries ports until Postgres can bind one. A check beforehand would race with other programs. The
# system gives no port below 32768 to outgoing connections.
# The time-out is long, since recovery after a crash takes minutes when the disk is busy.
start() { control --wait --timeout=300 --log="$folder/data/server.log" --options="-p $port" start; }
for attempt in {1..20}; do
    port=$((20000 + RANDOM % 12000))
    if start; then break; fi
    if [ "$attempt" = 20 ] || ! grep -q 'Address already in use' data/server.log; then
        cat control.log data/server.log >&2
        exit 1
    fi
    : >data/server.log
done
echo "postgres://postgres:postgres@127.0.0.1:$port/postgres"

back_up() { rm -rf kept && "${as_server_user[@]}" "$bin/pg_basebackup" --dbname="$1" --pgdata="$folder/kept" --checkpoint=fast --no-sync >>make.log 2>&1 <&-; }
is_stopped() { ! "$bin/pg_ctl" --pgdata="$folder/data" status >/dev/null 2>&1; }
replace() { is_stopped && rm -rf "$2" && cp -a "$1" "$2"; }

while read -r command; do
    case "$command" in
    stop) control --mode=fast --wait stop ;;
    crash) control --mode=immediate --wait stop ;;
    start) start || { tail -n 20 control.log data/server.log >&2; false; } ;;
    promote) control --wait promote ;;
    demote) control --mode=fast --wait stop && "${as_server_user[@]}" touch data/standby.signal && start ;;
    backup) back_up "postgres://postgres:postgres@127.0.0.1:$port/postgres" ;;
    copy) replace data kept ;;
    restore) replace kept data ;;
    freeze) signal_all STOP ;;
    thaw) signal_all CONT ;;
    *) false ;;
    esac && echo "done" || echo "failed"
done
