# Durable events (fsync and synchronous_commit on; SQLite with its full sync), beside the bare upserts of the same rows without triggers,
# summaries or HTTP, in one run: by pgbench on Postgres, and through one prepared statement on SQLite. 1,000 facilities with 100 lots each;
# each event sets one lot. Then events on a facility with 100 and with 100,000 lots.

need_events() { require_postgres; }

events_facilities=1000
events_lots=100

measure_events() {
    local seconds=10 rounds=3
    if [ -n "$quick" ]; then seconds=3 rounds=1; fi
    start_postgres fsync=on synchronous_commit=on full_page_writes=on shared_buffers=512MB
    new_database events
    sql_file "$database" fill.sql facilities=$events_facilities lots=$events_lots activity=100
    sql "$database" 'VACUUM ANALYZE'
    sql "$postgres" 'CREATE DATABASE bare TEMPLATE events'
    sql "${postgres%/*}/bare" 'ALTER TABLE blood_inventory DISABLE TRIGGER USER'
    start_service "$database" FACILITY_SUMMARY__LOG__FILTER=warn
    events_rounds Postgres $rounds "$seconds"
    events_by_lots Postgres
    finish "$service_pid"
    stop_postgres

    start_service "sqlite://$folder/events.db" FACILITY_SUMMARY__LOG__FILTER=warn
    "$load" stock address="$address" facilities=$events_facilities lots=$events_lots >/dev/null
    finish "$service_pid"
    cp "$folder/events.db" "$folder/bare.db"
    start_service "sqlite://$folder/events.db" FACILITY_SUMMARY__LOG__FILTER=warn
    events_rounds SQLite $rounds "$seconds"
    events_by_lots SQLite
    finish "$service_pid"
}

# events_rounds STORE ROUNDS SECONDS: in turn the bare upserts and the events, and their rows of the table.
events_rounds() {
    local round batch connections bare ours before
    for ((round = 0; round < $2; round++)); do
        for batch in 100 1; do
            connections=64
            if [ $batch = 100 ]; then connections=16; fi
            bare=$(bare_upserts_a_second "$1" $batch $connections "$3")
            before=$(processor_us "$service_pid")
            ours=$("$load" events address="$address" facilities=$events_facilities lots=$events_lots batch=$batch connections=$connections seconds="$3")
            ours="$ours cpu_us=$(calculate %.1f "($(processor_us "$service_pid") - $before) / ($(value_of "$ours" requests) * $batch)")"
            echo "$1 batch=$batch bare=$bare ratio=$(calculate %.3f "$(value_of "$ours" rate) / $bare") $ours" | tee -a "$folder/events" >&2
        done
    done
    local goal_batches=0.3 goal_single=0.5 ratio
    if [ "$1" = SQLite ]; then goal_single=0.4; fi
    ratio=$(events_median "$1" 100 ratio)
    row "events in batches of 100, $1" ">= $goal_batches of bare" "$ratio ($(events_median "$1" 100 rate)/s)" "100 bare upserts a transaction: $(events_median "$1" 100 bare)/s" "$ratio >= $goal_batches"
    row "  the service's processor time" "-" "$(events_median "$1" 100 cpu_us) us an event" "-"
    ratio=$(events_median "$1" 1 ratio)
    row "events one by one, 64 connections, $1" ">= $goal_single of bare" "$ratio ($(events_median "$1" 1 rate)/s)" "single bare upserts: $(events_median "$1" 1 bare)/s" "$ratio >= $goal_single"
    row "  p99" "< 25 ms" "$(events_median "$1" 1 p99_ms) ms" "p50 $(events_median "$1" 1 p50_ms) ms" "$(events_median "$1" 1 p99_ms) < 25"
    row "  the service's processor time" "-" "$(events_median "$1" 1 cpu_us) us an event" "-"
    local added derived
    added=$(metric 'summary_event_days_total{by="difference",reason="none"}')
    derived=$(curl -sf "http://$address/metrics" | awk '/^summary_event_days_total{by="derived"/ { sum += $2 } END { print sum + 0 }')
    row "  days by a difference" "-" "$added" "derived: $derived"
}

# events_by_lots STORE: the same event on a facility with few and with many lots, in turn, when both are filled: what a fill leaves
# to be done would count for one of them only.
events_by_lots() {
    local facility=5001 lots times=150 round few many ratio
    if [ -n "$quick" ]; then times=50; fi
    for lots in 100 100000; do
        "$load" fill address="$address" facility=$facility lots=$lots >/dev/null
        # The next day of a facility that was just filled is derived; those after it are not.
        "$load" one address="$address" facility=$facility lots=$lots times=20 round=0 >/dev/null
        facility=$((facility + 1))
    done
    rm -f "$folder"/one.*
    for round in 1 2 3; do
        "$load" one address="$address" facility=5001 lots=100 times=$times round=$round >>"$folder/one.few"
        "$load" one address="$address" facility=5002 lots=100000 times=$times round=$round >>"$folder/one.many"
    done
    few=$(value_of "$(<"$folder/one.few")" p50_ms | median) many=$(value_of "$(<"$folder/one.many")" p50_ms | median)
    ratio=$(calculate %.2f "$many / $few")
    row "an event on 100,000 lots, $1" "<= 1.3 x of 100" "$ratio x ($many ms)" "100 lots: $few ms" "$ratio <= 1.3"
}

events_median() { grep "^$1 batch=$2 " "$folder/events" | sed "s/.*\b$3=\([^ ]*\).*/\1/" | median; } # STORE BATCH NAME
bare_upserts_a_second() { # STORE BATCH CLIENTS SECONDS
    if [ "$1" = SQLite ]; then
        value_of "$("$load" bare file="$folder/bare.db" facilities=$events_facilities lots=$events_lots batch="$2" seconds="$4")" rate
        return
    fi
    "$(postgres_program pgbench)" -n -M prepared -c "$3" -j 2 -T "$4" -D rows=$((events_facilities * events_lots)) -D facilities=$events_facilities \
        -f "load-tests/bench/sql/upsert_$2.sql" "${postgres%/*}/bare" 2>/dev/null | awk -v batch="$2" '/^tps/ { printf "%.0f", $3 * batch }'
}
