# The latency that the Redis rung adds to a read, compared with a bare GET of the same payload over the
# same kind of connection. There are two replicas on one database. One answers from its memory. The
# other has no memory, and answers from Redis with what the first has put there.

need_redis() { require_postgres; require_redis; }

measure_redis() {
    local times=5000 rounds=5
    if [ -n "$quick" ]; then times=1000 rounds=3; fi
    start_postgres
    start_redis
    new_database redis
    local memory memory_pid path key line
    start_service "$database" REDIS_URL="$redis" FACILITY_SUMMARY__LOG__FILTER=warn
    memory=$address memory_pid=$service_pid
    start_service "$database" REDIS_URL="$redis" FACILITY_SUMMARY__CACHE__MEMORY_BYTES=0 FACILITY_SUMMARY__LOG__FILTER=warn
    "$load" fill address="$memory" facility=1 lots=500 >/dev/null
    path=/v1/facilities/00000001-0000-4000-8000-000000000001/summaries/today
    until_it "$folder/service.log" answered_by memory "http://$memory$path"
    until_it "$folder/service.log" answered_by redis "http://$address$path"
    key=$(redis-cli -u "$redis" --scan --pattern 'facility-summary:*:00000001-0000-4000-8000-000000000001:*' | grep -v lease)
    local round
    for ((round = 0; round < rounds; round++)); do
        line=$("$load" rung address="$memory" redis="$address" path="$path" key="$key" server="$redis" times=$times)
        echo "$line added=$(rung_added "$line" p50) added_p99=$(rung_added "$line" p99)" | tee -a "$folder/rungs" >&2
    done
    finish "$service_pid"
    finish "$memory_pid"
    stop_redis
    stop_postgres
    local added bare
    added=$(rung_ratio added get_p50_us) bare=$(rung_median get_p50_us)
    row "Redis rung, added latency / bare GET" "<= 1.5 x" "$added x" "memory $(rung_median memory_p50_us) us, Redis $(rung_median redis_p50_us) us, GET of $(value_of "$line" bytes) bytes $bare us" "$added <= 1.5"
    added=$(rung_ratio added_p99 get_p99_us)
    row "  p99" "" "$added x" "memory $(rung_median memory_p99_us) us, Redis $(rung_median redis_p99_us) us, GET $(rung_median get_p99_us) us; $(sed "s/.*\belsewhere=\([^ ]*\).*/\1/" "$folder/rungs" | awk '{ sum += $1 } END { print sum }') of $((2 * times * rounds)) reads answered by another rung"
}

answered_by() { curl -sf -D - -o /dev/null "$2" | grep -qi "^cache-status: .*detail=$1"; } # RUNG URL
rung_added() { calculate %.1f "$(value_of "$1" "redis_$2_us") - $(value_of "$1" "memory_$2_us")"; } # LINE QUANTILE
rung_median() { sed "s/.*\b$1=\([^ ]*\).*/\1/" "$folder/rungs" | median; }
rung_ratio() { # NAME NAME: the median of the rounds' ratios
    local line
    while read -r line; do calculate '%.2f\n' "$(value_of "$line" "$1") / $(value_of "$line" "$2")"; done <"$folder/rungs" | median
}
