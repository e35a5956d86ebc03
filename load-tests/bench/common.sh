# Shared by the sections: required programs, processes that end with the script, rows of the table.

service=$PWD/target/release/facility-summary
load=$PWD/target/load-tests/release/load
floor=$PWD/target/load-tests/release/floor
folder=$(mktemp -d "${TMPDIR:-/tmp}/facility-summary-bench.XXXXXX")
chmod 755 "$folder" # nginx's workers and the Postgres user read files in it
processes=()

# Ends the started processes, the newest first, and deletes the folder.
clean_up() {
    local index
    for ((index = ${#processes[@]} - 1; index >= 0; index--)); do kill "${processes[index]}" 2>/dev/null || true; done
    stop_postgres
    stop_redis
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

## Programs

missing=()
# require PROGRAM[:PACKAGE]...: collects the Debian packages of the programs that are missing.
require() {
    local item
    for item in "$@"; do command -v "${item%%:*}" >/dev/null || [ -x "/usr/sbin/${item%%:*}" ] || missing+=("${item#*:}"); done
}
require_postgres() {
    require psql:postgresql-client
    [ -n "$(postgres_program pgbench)" ] && [ -n "$(postgres_program initdb)" ] || missing+=(postgresql)
}
require_redis() { require redis-server redis-cli:redis-tools; }
require_done() {
    [ ${#missing[@]} = 0 ] || { echo "bench.sh: missing; as root: apt-get install -y --no-install-recommends $(printf '%s\n' "${missing[@]}" | sort -u | xargs)" >&2; exit 1; }
}
postgres_program() { command -v "$1" || ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -rV | head -1; }
PATH=$PATH:/usr/sbin

## Processes

no_limits=(FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE=0 FACILITY_SUMMARY__LIMITS__CONCURRENT_REQUESTS=0
    FACILITY_SUMMARY__LIMITS__EVENT_BYTES_PER_MINUTE=0 FACILITY_SUMMARY__SERVER__CONNECTIONS_PER_ADDRESS=0)

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start LOG COMMAND...: runs the command in the background. Sets $started to its process id.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 6>&- 9>&- &
    started=$!
    processes+=("$started")
}
finish() { # finish PID
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
# until_it FILE COMMAND...: waits until the command succeeds. After a minute it shows FILE and fails.
until_it() {
    local log=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || { echo "bench.sh: this did not succeed within a minute: $*" >&2; tail -5 "$log" >&2; exit 1; }
        sleep 0.05
    done
}

# start_service DATABASE_URL [SETTING=VALUE]...: starts the service with these settings, and else the
# defaults, without limits: one client sends all the load. Sets $address to its address, and $service_pid to its process id.
start_service() {
    local url=$1
    shift
    address=127.0.0.1:$(free_port)
    start "$folder/service.log" env "${no_limits[@]}" DATABASE_URL="$url" BIND_ADDR="$address" "$@" "$service" serve
    service_pid=$started
    until_it "$folder/service.log" curl -sf "http://$address/health/ready"
}
# Processor time of a process in microseconds; /proc counts it in hundredths of a second.
processor_us() { if [ -n "$1" ]; then awk '{ print ($14 + $15) * 10000 }' "/proc/$1/stat"; else echo 0; fi; }
# metric NAME{LABELS}: prints the metric's value, or 0 if it has none yet.
metric() { curl -sf "http://$address/metrics" | awk -v name="$1" '$1 == name { value = $2 } END { print value + 0 }'; }

# start_peers: starts actix-web alone, and the caches of nginx and varnish in front of it; sets
# $url_of and $pid_of for them and the service.
start_peers() {
    local peer_dir="$folder/peers" floor_port nginx_port varnish_port
    mkdir -p "$peer_dir"
    floor_port=$(free_port) nginx_port=$(free_port) varnish_port=$(free_port)
    start "$folder/floor.log" "$floor" "$floor_port" "$(nproc)"
    declare -gA pid_of=([ours]=$service_pid [floor]=$started)
    sed "s#{folder}#$peer_dir#g; s#{port}#$nginx_port#g; s#{floor}#$floor_port#g; s#{workers}#$(nproc)#g" load-tests/bench/nginx.conf >"$peer_dir/nginx.conf"
    start "$folder/nginx.log" nginx -c "$peer_dir/nginx.conf"
    sed "s#{floor}#$floor_port#g" load-tests/bench/varnish.vcl >"$peer_dir/varnish.vcl"
    start "$folder/varnish.log" varnishd -F -a "127.0.0.1:$varnish_port" -f "$peer_dir/varnish.vcl" -s malloc,256m -n "$peer_dir/varnish"
    declare -gA url_of=([ours]=http://$address [floor]=http://127.0.0.1:$floor_port [nginx]=http://127.0.0.1:$nginx_port [varnish]=http://127.0.0.1:$varnish_port)
}

# tests/private-postgres.sh ends the cluster when its standard input ends, and so when this script
# ends.
start_postgres() { # start_postgres [setting=value]...: sets $postgres to the URL
    stop_postgres
    mkfifo "$folder/postgres.in"
    tests/private-postgres.sh "$@" <"$folder/postgres.in" >"$folder/postgres.url" 2>"$folder/postgres.err" 6>&- &
    postgres_guard=$!
    exec 9>"$folder/postgres.in"
    until_it "$folder/postgres.err" test -s "$folder/postgres.url"
    postgres=$(<"$folder/postgres.url")
}
postgres_guard=
# order_postgres COMMAND: carries out stop, start, freeze or thaw, and returns when that is done.
order_postgres() {
    local lines
    lines=$(wc -l <"$folder/postgres.url")
    echo "$1" >&9
    until_it "$folder/postgres.err" has_more_lines "$folder/postgres.url" "$lines"
    [ "$(tail -1 "$folder/postgres.url")" = "done" ] || { echo "bench.sh: Postgres could not $1" >&2; exit 1; }
}
has_more_lines() { [ "$(wc -l <"$1")" -gt "$2" ]; }
stop_postgres() {
    [ -n "$postgres_guard" ] || return 0
    exec 9>&-
    wait "$postgres_guard" || true
    rm -f "$folder"/postgres.*
    postgres_guard=
}

start_redis() { # sets $redis to the URL
    stop_redis
    mkfifo "$folder/redis.in"
    tests/private-redis.sh <"$folder/redis.in" >"$folder/redis.url" 2>"$folder/redis.err" 9>&- &
    redis_guard=$!
    exec 6>"$folder/redis.in"
    until_it "$folder/redis.err" test -s "$folder/redis.url"
    redis=$(<"$folder/redis.url")
}
redis_guard=
stop_redis() {
    [ -n "$redis_guard" ] || return 0
    exec 6>&-
    wait "$redis_guard" || true
    rm -f "$folder"/redis.*
    redis_guard=
}
# new_database NAME: creates an empty database with our tables. Sets $database to its URL.
new_database() {
    sql "$postgres" "CREATE DATABASE $1"
    database=${postgres%/*}/$1
    DATABASE_URL=$database "$service" migrate >/dev/null
}
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$1" -c "$2"; }
sql_file() { # sql_file URL FILE [name=value]...
    local url=$1 file=$2
    shift 2
    psql -X -q -A -t -v ON_ERROR_STOP=1 "${@/#/--set=}" "$url" -f "load-tests/bench/sql/$file"
}

## Paths

# paths FACILITIES DAYS: writes the path of each facility and day, one of the days as `today`.
paths() {
    local facility day date
    curl -sf "http://$address/v1/facilities?limit=500" >"$folder/page"
    while :; do
        python3 -c 'import json, sys; [print(i["facility_id"]) for i in json.load(open(sys.argv[1]))["items"]]' "$folder/page" >>"$folder/ids"
        local cursor
        cursor=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["next_cursor"] or "")' "$folder/page")
        [ -n "$cursor" ] || break
        curl -sf "http://$address/v1/facilities?limit=500&cursor=$cursor" >"$folder/page"
    done
    for ((day = 0; day < $2; day++)); do
        date=$(date -u -d "$((day + 1)) days ago" +%F) # this date has begun in every zone
        if [ $day = 0 ]; then date=today; fi
        while read -r facility; do echo "/v1/facilities/$facility/summaries/$date"; done <"$folder/ids"
    done
}

## Figures

value_of() { sed -n "s/.*\b$2=\([^ ]*\).*/\1/p" <<<"$1"; } # value_of LINE NAME
calculate() { awk "BEGIN { printf \"$1\", $2 }"; }         # calculate FORMAT EXPRESSION
median() { sort -n | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

# row FIGURE GOAL MEASURED BESIDE [CONDITION]: adds a row to the table. A row without a condition has
# no goal.
row() {
    local verdict=-
    if [ -n "${5:-}" ]; then verdict=$(awk "BEGIN { print ($5) ? \"ok\" : \"SHORT\" }"); fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$verdict" | tee -a "$folder/table" >&2
}
print_table() {
    echo
    { printf 'figure\tgoal\tmeasured\tbeside\tverdict\n'; cat "$folder/table"; } | python3 -c '
import sys
rows = [line.rstrip("\n").split("\t") for line in sys.stdin]
widths = [max(len(row[i]) for row in rows) for i in range(5)]
rows.insert(1, ["-" * width for width in widths])
for row in rows: print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())'
    [ -z "$quick" ] || echo "BENCH_QUICK: the rounds were too short, do not quote these figures."
}
