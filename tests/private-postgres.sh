#!/usr/bin/env bash
# A Postgres of one's own: prints its URL once it accepts connections and lives exactly as long as this script's standard input is open,
# so that it goes when whoever started it goes, however that died. The cluster lies in a temporary folder that goes with it.
#
#   tests/private-postgres.sh [--standby-of URL] [setting=value]...      for example fsync=on max_connections=50
#
# With --standby-of it is a streaming replica of a running cluster, by the URL that this script printed for that.
# Lines on standard input command it; each is answered by a line, `done` or `failed`:
#   stop     shut down, cutting off its clients     start    start again: same data, same port
#   crash    stop as if the machine had failed      freeze   hang without an answer     thaw    go on
#   promote  a standby becomes a primary            demote   the other way, with a restart
#   backup   keep a base backup of it as it runs    copy     keep a copy of its files, while it is stopped
#   restore  put what was kept last in the place of its files, while it is stopped
#
# Durability is off unless asked for (`fsync=on`): a test that does not pull the plug does not need it.
set -euo pipefail
primary=""
if [ "${1:-}" = --standby-of ]; then primary=$2 && shift 2; fi
trap '' INT HUP TERM PIPE # only the end of standard input ends it, so that nothing is left behind half-way

server_programs() {
    local candidate
    for candidate in "$(dirname "$(command -v postgres || echo /)")" $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV); do
        # Through links: the other programs lie beside the real `postgres`.
        candidate=$(dirname "$(readlink -f "$candidate/postgres")")
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "no Postgres server programs in PATH or /usr/lib/postgresql/*/bin: tests/install-deps.sh installs them" >&2
    return 1
}

# Postgres refuses to run as root, so root lends it another user.
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
# The postmaster first: it must not notice that its children were stopped, and go on after they do.
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
        'full_page_writes = off' 'max_wal_size = 4GB' 'timezone = UTC'
    for setting in "$@"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done # the last mention of a setting counts
} >>data/postgresql.conf

# A port is free when Postgres could take it: asking beforehand would race. Below 32768 no outgoing connection takes one.
# A recovery after a crash takes minutes where the disk is busy with something else.
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
