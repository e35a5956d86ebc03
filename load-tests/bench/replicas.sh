# Three replicas on one database and one Redis: how soon an event at one replica is in the memory of
# another, how much slower a read is than with one server alone, and that a key is refreshed only once.

source load-tests/bench/stampede.sh

need_replicas() { require wrk; require_postgres; require_redis; }

measure_replicas() {
    local facilities=200 rounds=5 seconds=5 times=1000 readers=10000
    if [ -n "$quick" ]; then rounds=5 seconds=2 times=200 readers=1000; fi
    start_postgres
    start_redis
    new_database replicas
    sql_file "$database" fill.sql facilities=$facilities lots=100 activity=100
    sql "$database" 'VACUUM ANALYZE'
    sql "$postgres" 'CREATE DATABASE alone TEMPLATE replicas'
    awk -v facilities=$facilities 'BEGIN { for (n = 1; n <= facilities; n++) printf "/v1/facilities/00000001-0000-4000-8000-%012x/summaries/today\n", n }' >"$folder/paths"
    local replicas=() pids=() each
    start_replicas FACILITY_SUMMARY__LOG__FILTER=warn
    measure_spread $times
    start_service "${postgres%/*}/alone" FACILITY_SUMMARY__LOG__FILTER=warn
    compare_hot_reads "$rounds" "$seconds"
    for each in "$service_pid" "${pids[@]}"; do finish "$each"; done

    new_database stampede
    start_replicas "${stampede_settings[@]}" FACILITY_SUMMARY__REDIS__TIMEOUT_MS=5000 # a machine that is busy with readers must not count as a lost Redis
    stampede $readers "${replicas[@]}"
    for each in "${pids[@]}"; do finish "$each"; done
    stop_redis
    stop_postgres
    row "refreshes for $readers readers of a stale key, 3 replicas" "1" "$refreshes" "$answered answered 200, the last $last_ms ms after the lock was free" \
        "$refreshes == 1 && $answered == $readers"
}

# start_replicas [SETTING=VALUE]...: starts three replicas on $database. Sets $replicas to their
# addresses, and $pids to their process ids.
start_replicas() {
    local number
    replicas=() pids=()
    for number in 1 2 3; do
        start_service "$database" REDIS_URL="$redis" "$@"
        replicas+=("$address") pids+=("$service_pid")
    done
}

measure_spread() { # TIMES
    local line p99
    "$load" fill address="${replicas[0]}" facility=500 lots=500 >/dev/null
    until_it "$folder/service.log" curl -sf "http://${replicas[1]}/v1/facilities/00000001-0000-4000-8000-0000000001f4/summaries/today"
    line=$("$load" spread address="${replicas[0]}" to="${replicas[1]}" facility=500 times="$1")
    echo "$line" >&2
    p99=$(value_of "$line" sent_p99_ms)
    row "event at A to memory of B, from its sending, p99" "<= 25 ms" "$p99 ms" "p50 $(value_of "$line" sent_p50_ms) ms; the event's own answer p50 $(value_of "$line" answer_p50_ms) ms, p99 $(value_of "$line" answer_p99_ms) ms" "$p99 <= 25"
    row "  from its acknowledgement, p99" "" "$(value_of "$line" answered_p99_ms) ms" "p50 $(value_of "$line" answered_p50_ms) ms, of $(value_of "$line" times) events one by one"
}

# A service alone without Redis, and the three replicas, in turn: reads a second of the services' own
# processor time, which does not depend on what else the machine does.
compare_hot_reads() { # ROUNDS SECONDS
    local each round alone one three
    for each in "$address" "${replicas[@]}"; do
        until_it "$folder/service.log" curl -sf "http://$each$(head -1 "$folder/paths")"
        "$load" visit address="$each" paths="$folder/paths" connections=4 >/dev/null
    done
    local before after
    before=$(past_memory "${replicas[@]}")
    for ((round = 0; round < $1; round++)); do
        alone=$(reads_a_processor_second "$2" 63 "$address:$service_pid")
        one=$(reads_a_processor_second "$2" 63 "${replicas[0]}:${pids[0]}")
        three=$(reads_a_processor_second "$2" 21 "${replicas[0]}:${pids[0]}" "${replicas[1]}:${pids[1]}" "${replicas[2]}:${pids[2]}")
        echo "$alone $three $one" | tee -a "$folder/hot" >&2
    done
    after=$(past_memory "${replicas[@]}")
    local ratio
    ratio=$(awk '{ printf "%.3f\n", $2 / $1 }' "$folder/hot" | median)
    row "hot reads a processor second, 3 replicas / one alone" ">= 0.90" "$ratio" "$(awk '{ print $2 }' "$folder/hot" | median)/s, $(awk '{ print $1 }' "$folder/hot" | median)/s; $((after - before)) reads of the 3 went past memory" "$ratio >= 0.90"
    ratio=$(awk '{ printf "%.3f\n", $3 / $1 }' "$folder/hot" | median)
    row "  one of the 3, asked alone / one alone" "" "$ratio" "$(awk '{ print $3 }' "$folder/hot" | median)/s"
}

reads_a_processor_second() { # SECONDS CONNECTIONS ADDRESS:PID...
    local seconds=$1 connections=$2 each spent=0 place=0 clients=()
    shift 2
    for each in "$@"; do
        place=$((place + 1)) spent=$((spent - $(processor_us "${each##*:}")))
        PATHS=$folder/paths wrk -t1 "-c$connections" "-d${seconds}s" -s load-tests/bench/paths.lua "http://${each%:*}" >"$folder/wrk.$place" 6>&- 9>&- &
        clients+=($!)
    done
    wait "${clients[@]}"
    for each in "$@"; do spent=$((spent + $(processor_us "${each##*:}"))); done
    if grep Non-2xx "$folder"/wrk.[123] >&2; then exit 1; fi
    awk -v spent=$spent '/ requests in / { count += $1 } END { printf "%.0f", count * 1e6 / spent }' $(for ((; place > 0; place--)); do echo "$folder/wrk.$place"; done)
}
past_memory() { # ADDRESS...
    local each
    for each in "$@"; do curl -sf "http://$each/metrics"; done | awk '/^summary_reads_total\{/ && !/tier="memory"/ { sum += $2 } END { print sum + 0 }'
}
