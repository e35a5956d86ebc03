# Reads of warm keys, and events, while the database is stopped and while it hangs, compared with the
# same load just before. There are two services, each on a database of its own. One has the default
# bound. The other has a bound that its figures soon exceed, so that each read needs the database. The
# load is offered at a fixed rate, and goes on while the fault begins.

need_outage() { require_postgres; }

measure_outage() {
    local facilities=100 rounds=3 seconds=25
    if [ -n "$quick" ]; then rounds=1 seconds=12; fi
    start_postgres
    new_database outage
    sql_file "$database" fill.sql facilities=$facilities lots=20 activity=20
    sql "$database" 'VACUUM ANALYZE'
    sql "$postgres" 'CREATE DATABASE outage_tight TEMPLATE outage'
    awk -v facilities=$facilities 'BEGIN { for (n = 1; n <= facilities; n++) printf "/v1/facilities/00000001-0000-4000-8000-%012x/summaries/today\n", n }' >"$folder/paths"
    local usual usual_pid
    start_service "$database" FACILITY_SUMMARY__LOG__FILTER=error
    usual=$address usual_pid=$service_pid
    start_service "${postgres%/*}/outage_tight" FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS=1 FACILITY_SUMMARY__LOG__FILTER=error
    "$load" fill address="$usual" facility=500 lots=1 >/dev/null
    local round fault
    for ((round = 0; round < rounds; round++)); do
        for fault in stop freeze; do
            warm_up
            offer_load before.$fault "$seconds"
            offer_load "$fault" "$seconds" &
            sleep 1
            order_postgres "$fault"
            wait $!
            order_postgres "$(if [ "$fault" = stop ]; then echo start; else echo thaw; fi)"
        done
    done
    finish "$service_pid"
    finish "$usual_pid"
    stop_postgres
    report_outage stop "while Postgres is stopped"
    report_outage freeze "while Postgres hangs"
}

warm_up() {
    local each
    for each in "$usual" "$address"; do
        until_it "$folder/service.log" ready_in_full "$each"
        "$load" visit address="$each" paths="$folder/paths" connections=2 >/dev/null
    done
}
ready_in_full() { curl -sf "http://$1/health/ready" | grep -Eq '"status": ?"ready"'; }

# offer_load PHASE SECONDS: sends reads to both services, and events to the one with the default bound,
# all at the same time.
offer_load() {
    local clients=() name
    "$load" reads address="$usual" paths="$folder/paths" connections=8 every_ms=20 seconds="$2" >"$folder/offered.reads" 9>&- &
    clients+=($!)
    "$load" reads address="$address" paths="$folder/paths" connections=8 every_ms=20 seconds="$2" >"$folder/offered.tight" 9>&- &
    clients+=($!)
    "$load" writes address="$usual" facility=500 connections=4 every_ms=100 seconds="$2" >"$folder/offered.writes" 9>&- &
    clients+=($!)
    wait "${clients[@]}"
    for name in reads tight writes; do echo "$1 $name $(cat "$folder/offered.$name")" | tee -a "$folder/outages" >&2; done
}

report_outage() { # FAULT WHEN
    local kind name ratio asked answered p99 before
    for kind in reads tight; do
        name="warm reads $2"
        if [ $kind = tight ]; then name="  older than their bound"; fi
        asked=$(offered_sum "$1" $kind asked) answered=$(offered_sum "$1" $kind answered)
        ratio=$(paste <(offered "$1" $kind p99_ms) <(offered "before.$1" $kind p99_ms) | awk '{ printf "%.2f\n", $1 / $2 }' | median)
        p99=$(offered "$1" $kind p99_ms | median) before=$(offered "before.$1" $kind p99_ms | median)
        row "$name" "100 %" "$answered of $asked" "$(offered_sum "before.$1" $kind answered) of $(offered_sum "before.$1" $kind asked) before" "$answered == $asked"
        # Figures within their bound need no database. A reader with a tight bound waits for a refresh, or
        # for its time-out, so there is no goal for it.
        if [ $kind = reads ]; then
            row "  p99 / p99 before" "<= 1.25 x" "$ratio x" "$p99 ms, $before ms before, at 400 reads a second" "$ratio <= 1.25"
        else
            row "    p99 / p99 before" "" "$ratio x" "$p99 ms, $before ms before"
        fi
    done
    # Events that were answered before the fault do not count for the outage.
    local refused other longest
    refused=$(offered_sum "$1" writes refused) other=$(($(offered_sum "$1" writes hung) + $(offered_sum "$1" writes other)))
    longest=$(offered "$1" writes max_ms | sort -n | tail -1)
    row "events refused $2" "all with 503 and Retry-After" "$refused, otherwise $other" "$(offered_sum "$1" writes applied) applied before it" "$other == 0 && $refused > 0"
    row "  the longest wait" "<= 10000 ms" "$longest ms" "p50 $(offered "$1" writes p50_ms | median) ms" "$longest <= 10000"
}

offered() { sed -n "s/^$1 $2 .*\b$3=\([^ ]*\).*/\1/p" "$folder/outages"; } # PHASE LOAD NAME
offered_sum() { offered "$@" | awk '{ sum += $1 } END { print sum + 0 }'; }
