# Clients of live updates: what each takes of memory, how fast they connect, and how long a change takes from its commit (updated_at) to the
# client. For changes of 1,000 facilities with ten viewers each, beside nginx's nchan module in the same run; of one facility that all follow; of
# 10,000 facilities that some follow all. Clients that read nothing; reads beside clients that are idle. The load client checks each message: no
# version goes back, and at the end each client has the last one. It runs on this machine, and takes about as much of it as the service.

nchan_module=/usr/lib/nginx/modules/ngx_nchan_module.so
need_live() {
    require wrk nginx ss:iproute2
    [ -e $nchan_module ] || missing+=(libnginx-mod-nchan)
}

measure_live() {
    local clients=10000 seconds=20 rate=1000 line
    if [ -n "$quick" ]; then clients=2000 seconds=5 rate=200; fi
    ulimit -n "$(ulimit -Hn)"
    live_service 1000
    live_round "$clients clients" clients="$clients" facilities=1000 rate="$rate" seconds="$seconds"
    live_row "KiB of a client" "<= 10" kib_per_client 10 "$line"
    row "live: connects a second" ">= 2000" "$(value_of "$line" connects_per_s)" "$(value_of "$line" lost) were lost" "$(value_of "$line" connects_per_s) >= 2000"
    live_row "commit to client, p50 ms" "<= 5" p50_ms 5 "$(value_of "$line" messages) messages"
    live_row "commit to client, p99 ms" "<= 50" p99_ms 50 ""
    live_row "versions back" "0" backwards 0 ""
    live_row "clients without the last version" "0" incomplete 0 ""
    local ours=$line
    finish "$service_pid"
    live_nchan
    local p99
    p99=$(calculate %.2f "$(value_of "$ours" p99_ms) / $(value_of "$line" p99_ms)")
    row "live: commit to client, p99 / nchan's from its publication" "<= 1" "$p99" \
        "nchan p50 $(value_of "$line" p50_ms) ms, p99 $(value_of "$line" p99_ms) ms, $(value_of "$line" kib_per_client) KiB a client, $(value_of "$line" incomplete) without the last" "$p99 <= 1"

    live_service 1000
    live_round "server-sent events" transport=sse clients="$clients" facilities=1000 rate="$rate" seconds="$seconds"
    live_row "KiB of a client of server-sent events" "<= 8" kib_per_client 8 "$line"
    live_row "  without the last version, or back" "0" incomplete 0 ""
    finish "$service_pid"

    live_service 10
    live_round "clients that read nothing" reads=no clients=1000 facilities=10 rate="$rate" seconds="$seconds"
    live_row "KiB in the kernel of a client that reads nothing" "<= 32" kernel_kib_per_client 32 "$(value_of "$line" kib_per_client) KiB in the service"
    finish "$service_pid"

    live_service 1
    live_round "one facility" clients="$clients" facilities=1 rate=20 seconds="$seconds"
    local bare
    bare=$("$load" write connections=1000 bytes=600 times=200000)
    live_row "one facility, p99 ms" "<= 100" p99_ms 100 "$(value_of "$line" cpu_us_per_message) us of the service's processor a message; a bare write $(value_of "$bare" us_per_write) us"
    finish "$service_pid"

    live_service "$clients"
    live_round "all" subject=all clients=200 facilities="$clients" rate="$rate" seconds="$seconds"
    live_row "all of $clients facilities, 200 clients: messages a second" "<= 4" per_client_s 4.01 "$line"
    live_row "  without the last versions" "0" incomplete 0 ""
    finish "$service_pid"

    live_beside_idle
}

live_service() { # FACILITIES
    rm -f "$folder"/live.db*
    # How fast clients can connect is measured, too: so nothing bounds that.
    start_service "sqlite://$folder/live.db" FACILITY_SUMMARY__LIVE__CLIENTS_PER_ADDRESS=0 FACILITY_SUMMARY__LIVE__CONNECTS_PER_SECOND=0
    "$load" stock address="$address" facilities="$1" lots=2 >/dev/null
}
live_round() { # NAME [name=value]...: sets $line
    line=$("$load" live address="$address" pid="$service_pid" "${@:2}" | tail -1)
    echo "live, $1: $line" >&2
}
live_row() { # WHAT GOAL NAME MOST BESIDE
    row "live: $1" "$2" "$(value_of "$line" "$3")" "$5" "$(value_of "$line" "$3") <= $4"
}

# The same clients and rates at nchan; sets $line.
live_nchan() {
    local port pids
    port=$(free_port)
    sed "s#{folder}#$folder#g; s#{port}#$port#g; s#{module}#$nchan_module#g; s#{workers}#$(nproc)#g" load-tests/bench/nchan.conf >"$folder/nchan.conf"
    start "$folder/nchan.log" nginx -c "$folder/nchan.conf"
    local nginx_pid=$started
    until_it "$folder/nchan.log" curl -s "http://127.0.0.1:$port/pub?id=1"
    pids=$(pgrep -P "$nginx_pid" | paste -sd,)
    line=$("$load" live address="127.0.0.1:$port" pid="$pids" transport=nchan clients="$clients" facilities=1000 rate="$rate" seconds="$seconds" | tail -1)
    echo "live, nchan: $line" >&2
    finish "$nginx_pid"
}

# Hot reads at a service with idle clients, in turn with those at one without.
live_beside_idle() {
    local round rounds=5 length=4 alone_address alone_pid idle ratio
    if [ -n "$quick" ]; then rounds=2 length=1; fi
    live_service 1000
    rm -f "$folder/ids" "$folder"/alone.db*
    paths 1000 1 >"$folder/live.paths"
    local address_with=$address pid_with=$service_pid
    start_service "sqlite://$folder/alone.db"
    alone_address=$address alone_pid=$service_pid
    "$load" stock address="$alone_address" facilities=1000 lots=2 >/dev/null # the same facilities
    start "$folder/idle.out" "$load" live address="$address_with" pid="$pid_with" clients="$clients" facilities=1000 rate=0 seconds=3600
    idle=$started
    until_it "$folder/idle.out" grep -q ready "$folder/idle.out"
    for at in "$alone_address" "$address_with"; do "$load" visit address="$at" paths="$folder/live.paths" connections=4 >/dev/null; done
    for ((round = 0; round < rounds; round++)); do
        echo "$(live_wrk "$alone_address" "$length") $(live_wrk "$address_with" "$length")"
    done | tee "$folder/live.pairs" >&2
    ratio=$(awk '{ printf "%.3f\n", $2 / $1 }' "$folder/live.pairs" | median)
    row "live: hot reads beside $clients idle clients / without" ">= 0.95" "$ratio" "$(awk '{ print $2 }' "$folder/live.pairs" | median)/s, $(awk '{ print $1 }' "$folder/live.pairs" | median)/s" "$ratio >= 0.95"
    finish "$idle"
    finish "$pid_with"
    finish "$alone_pid"
}
live_wrk() { # ADDRESS SECONDS: requests a second
    PATHS=$folder/live.paths wrk -t1 -c16 "-d$2s" -s load-tests/bench/paths.lua "http://$1" | awk '/Requests\/sec/ { print $2 }'
}
