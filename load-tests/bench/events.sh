# Durable events on Postgres (fsync and synchronous_commit on), compared in one run with pgbench, which
# upserts the same rows without triggers, summaries or HTTP. There are 1,000 facilities with 100 lots
# each, and each event sets one lot.

need_events() { require_postgres; }

measure_events() {
    local facilities=1000 lots=100 seconds=10 rounds=3
    if [ -n "$quick" ]; then seconds=3 rounds=1; fi
    start_postgres fsync=on synchronous_commit=on full_page_writes=on shared_buffers=512MB
    new_database events
    sql_file "$database" fill.sql facilities=$facilities lots=$lots activity=100
    sql "$database" 'VACUUM ANALYZE'
    sql "$postgres" 'CREATE DATABASE bare TEMPLATE events'
    sql "${postgres%/*}/bare" 'ALTER TABLE blood_inventory DISABLE TRIGGER USER'
    start_service "$database" FACILITY_SUMMARY__LOG__FILTER=warn
    local round batch connections bare ours
    for ((round = 0; round < rounds; round++)); do
        for batch in 100 1; do
            connections=64
            if [ $batch = 100 ]; then connections=16; fi
            bare=$(upserts_a_second $batch $connections "$seconds" $((facilities * lots)) $facilities)
            ours=$("$load" events address="$address" facilities=$facilities lots=$lots batch=$batch connections=$connections seconds="$seconds")
            echo "batch=$batch bare=$bare $ours" | tee -a "$folder/events" >&2
        done
    done
    finish "$service_pid"
    stop_postgres
    local rate p99
    rate=$(events_median 100 rate) bare=$(events_median 100 bare)
    row "events in batches of 100" ">= 10000/s" "$rate/s" "pgbench, 100 upserts a statement: $bare/s" "$rate >= 10000"
    rate=$(events_median 1 rate) bare=$(events_median 1 bare) p99=$(events_median 1 p99_ms)
    row "events one by one, 64 connections" ">= 4000/s" "$rate/s" "pgbench, single upserts: $bare/s" "$rate >= 4000"
    row "  p99" "< 50 ms" "$p99 ms" "p50 $(events_median 1 p50_ms) ms" "$p99 < 50"
}

events_median() { grep "^batch=$1 " "$folder/events" | sed "s/.*\b$2=\([^ ]*\).*/\1/" | median; } # BATCH NAME
upserts_a_second() { # BATCH CLIENTS SECONDS ROWS FACILITIES
    "$(postgres_program pgbench)" -n -M prepared -c "$2" -j 2 -T "$3" -D rows="$4" -D facilities="$5" \
        -f "load-tests/bench/sql/upsert_$1.sql" "${postgres%/*}/bare" 2>/dev/null | awk -v batch="$1" '/^tps/ { printf "%.0f", $3 * batch }'
}
