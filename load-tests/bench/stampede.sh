# Concurrent readers of one stale key. Another session holds the facility's lock until every request
# was sent, so that no request is answered before the last one has come.

need_stampede() { require_postgres; }

measure_stampede() {
    local readers=10000
    if [ -n "$quick" ]; then readers=1000; fi
    start_postgres
    new_database stampede
    start_service "$database" "${stampede_settings[@]}"
    stampede $readers "$address"
    finish "$service_pid"
    stop_postgres
    row "refreshes for $readers readers of a stale key" "1" "$refreshes" "$answered answered 200, the last $last_ms ms after the lock was free; ulimit -n $(ulimit -n)" \
        "$refreshes == 1 && $answered == $readers"
}

# Figures are stale after two seconds. This happens only because the drain runs once, and so no
# watermark proves them.
stampede_settings=(FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS=2 FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS=3600000
    FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS=60000 FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=60000 FACILITY_SUMMARY__LOG__FILTER=warn)

# stampede READERS ADDRESS...: spreads so many readers of one key of $database over these services.
# Sets $answered to the number of answers 200, $refreshes to the number of refreshes, and $last_ms to
# the time after which the last reader was answered.
stampede() {
    local readers=$1 facility=00000001-0000-4000-8000-000000000001 path each
    shift
    path=/v1/facilities/$facility/summaries/today
    [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -gt $((readers + 1000)) ] || ulimit -n $((readers + 1000)) || { echo "bench.sh: $readers readers need as many open files, but ulimit -n $((readers + 1000)) was refused" >&2; exit 1; }
    "$load" fill address="$1" facility=1 lots=500 >/dev/null
    for each in "$@"; do until_it "$folder/service.log" curl -sf "http://$each$path"; done
    for each in "$@"; do until_it "$folder/service.log" stale "http://$each$path"; done
    refreshes=$(read_refreshes "$@")
    mkfifo "$folder/locker.in"
    psql -X -q -A -t "$database" <"$folder/locker.in" >"$folder/locker.out" 2>&1 6>&- 9>&- &
    local children=($!)
    exec 8>"$folder/locker.in"
    printf "BEGIN;\nSELECT 'locked' FROM facility_state WHERE facility_id = '%s' FOR UPDATE;\n" "$facility" >&8
    until_it "$folder/locker.out" grep -q locked "$folder/locker.out"
    mkfifo "$folder/stampede.in"
    local place=0 share
    for each in "$@"; do
        place=$((place + 1)) share=$((readers * place / $# - readers * (place - 1) / $#))
        "$load" stampede address="$each" path="$path" readers=$share <"$folder/stampede.in" >"$folder/stampede.$place" 6>&- 8>&- 9>&- &
        children+=($!)
    done
    exec 7>"$folder/stampede.in"
    for ((place = 1; place <= $#; place++)); do until_it "$folder/stampede.$place" grep -q sent "$folder/stampede.$place"; done
    printf 'COMMIT;\n\\q\n' >&8
    exec 7>&- 8>&- # the load clients read the answers when their input ends
    wait "${children[@]}"
    refreshes=$(($(read_refreshes "$@") - refreshes)) answered=0 last_ms=0
    for ((place = 1; place <= $#; place++)); do
        each=$(tail -1 "$folder/stampede.$place")
        answered=$((answered + $(value_of "$each" answered)))
        if [ "$(value_of "$each" ms)" -gt "$last_ms" ]; then last_ms=$(value_of "$each" ms); fi
    done
    rm "$folder"/stampede.* "$folder/locker.in"
}

# A reader with only-if-cached causes no refresh. It is answered 504 once no figures are fresh.
stale() { [ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Cache-Control: only-if-cached' "$1")" = 504 ]; }
read_refreshes() { # ADDRESS...
    local each
    for each in "$@"; do curl -sf "http://$each/metrics"; done | awk '/^summary_refreshes_total\{/ && /trigger="read"/ { sum += $2 } END { print sum + 0 }'
}
