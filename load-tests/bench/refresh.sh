# Refreshes of one facility's today on both stores, requested over HTTP one after the other. The time
# includes begin, lock, derive, compare, commit and answer.

need_refresh() { require_postgres; }

measure_refresh() {
    # Without autovacuum the tables stay unvacuumed after the churn.
    start_postgres autovacuum=off shared_buffers=512MB
    new_database refresh
    measure_refresh_of Postgres "$database"
    stop_postgres
    measure_refresh_of SQLite "sqlite://$folder/refresh.db"
}

measure_refresh_of() { # STORE URL
    start_service "$2" FACILITY_SUMMARY__FRESHNESS__MODE=realtime FACILITY_SUMMARY__LOG__FILTER=warn
    local lots goal times facility=0
    for lots in 500 100000; do
        facility=$((facility + 1)) goal=2 times=300
        if [ $lots = 100000 ]; then goal=25 times=60; fi
        if [ -n "$quick" ]; then times=20; fi
        "$load" fill address="$address" facility=$facility lots=$lots >/dev/null
        if [ "$1" = Postgres ]; then sql "$2" 'VACUUM ANALYZE'; fi
        local fresh churned
        fresh=$(refresh_ms $facility $times)
        row "targeted refresh, $1, $lots lots" "<= $goal ms" "$(value_of "$fresh" p50_ms) ms" "inside, without commit and HTTP: $(value_of "$fresh" inside_ms) ms" "$(value_of "$fresh" p50_ms) <= $goal"
        "$load" fill address="$address" facility=$facility lots=$lots churn=10 >/dev/null
        churned=$(refresh_ms $facility $times)
        local ratio
        ratio=$(calculate %.2f "$(value_of "$churned" p50_ms) / $(value_of "$fresh" p50_ms)")
        row "  after 10 % churn" "<= 3 x" "$ratio x" "$(value_of "$churned" p50_ms) ms" "$ratio <= 3"
    done
    finish "$service_pid"
}

# refresh_ms FACILITY TIMES: prints the line of `load refresh`, and the mean of the service's own
# histogram.
refresh_ms() {
    local labels='{trigger="request"}' sum count line
    "$load" refresh address="$address" facility="$1" times=5 >/dev/null
    sum=$(metric "summary_refresh_duration_seconds_sum$labels") count=$(metric "summary_refresh_duration_seconds_count$labels")
    line=$("$load" refresh address="$address" facility="$1" times="$2")
    echo "$line inside_ms=$(calculate %.3f "1000 * ($(metric "summary_refresh_duration_seconds_sum$labels") - $sum) / ($(metric "summary_refresh_duration_seconds_count$labels") - $count)")"
}
