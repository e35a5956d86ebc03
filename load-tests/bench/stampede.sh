# Readers of one stale key, all at the same time. Another session holds the facility's lock until every request has been sent, so that
# none of them can be answered before the last one has come.

need_stampede() { require_postgres; }

measure_stampede() {
    local readers=10000
    if [ -n "$quick" ]; then readers=1000; fi
    local before_limit
    before_limit=$(ulimit -n)
    [ "$before_limit" = unlimited ] || [ "$before_limit" -gt $((readers + 1000)) ] || ulimit -n $((readers + 1000)) || { echo "bench.sh: $readers readers need as many open files: ulimit -n $((readers + 1000)) was refused" >&2; exit 1; }
    start_postgres
    new_database stampede
    # Figures grow stale after two seconds, which only happens where the drain proves nothing.
    start_service "$database" FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS=2 FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS=3600000 \
        FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS=60000 FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS=60000 FACILITY_SUMMARY__LOG__FILTER=warn
    "$load" fill address="$address" facility=1 lots=500 >/dev/null
    local facility=00000001-0000-4000-8000-000000000001
    local path=/v1/facilities/$facility/summaries/today
    curl -sf "http://$address$path" >/dev/null
    until_it "$folder/service.log" stale "$path"
    local refreshes_before refreshes
    refreshes_before=$(read_refreshes)
    mkfifo "$folder/locker.in" "$folder/stampede.in"
    psql -X -q -A -t "$database" <"$folder/locker.in" >"$folder/locker.out" 2>&1 9>&- &
    local locker=$!
    exec 8>"$folder/locker.in"
    printf "BEGIN;\nSELECT 'locked' FROM facility_state WHERE facility_id = '%s' FOR UPDATE;\n" "$facility" >&8
    until_it "$folder/locker.out" grep -q locked "$folder/locker.out"
    "$load" stampede address="$address" path="$path" readers=$readers <"$folder/stampede.in" >"$folder/stampede.out" 8>&- 9>&- &
    local stampede=$!
    exec 7>"$folder/stampede.in"
    until_it "$folder/stampede.out" grep -q sent "$folder/stampede.out"
    printf 'COMMIT;\n\\q\n' >&8
    echo >&7
    exec 7>&- 8>&-
    wait $stampede $locker
    local line
    line=$(tail -1 "$folder/stampede.out")
    refreshes=$(($(read_refreshes) - refreshes_before))
    finish "$service_pid"
    stop_postgres
    row "refreshes for $readers readers of a stale key" "1" "$refreshes" "$(value_of "$line" answered) answered 200, the last $(value_of "$line" ms) ms after the lock was free; ulimit -n $(ulimit -n)" \
        "$refreshes == 1 && $(value_of "$line" answered) == $readers"
}

# A reader that must not cause a refresh is told when nothing fresh is held.
stale() { [ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Cache-Control: only-if-cached' "http://$address$1")" = 504 ]; }
read_refreshes() {
    curl -sf "http://$address/metrics" | awk '/^summary_refreshes_total\{/ && /trigger="read"/ { sum += $2 } END { print sum + 0 }'
}
