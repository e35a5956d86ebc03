# The rebuild of today of all facilities on Postgres, in turn with one plain GROUP BY statement that
# computes the same figures, in one run. Each facility has 500 lots, 600 deliveries and 600 requests
# over 30 days.

need_rebuild() { require_postgres; }

measure_rebuild() {
    local few=1000 many=10000 rounds=7
    if [ -n "$quick" ]; then few=200 many=2000 rounds=3; fi
    start_postgres autovacuum=off shared_buffers=1GB max_wal_size=16GB

    new_database few
    fill_database "$few"
    local few_url=$database before after
    before=$(summary_writes "$few_url")
    compare_rebuild "$few_url" "$rounds"
    after=$(summary_writes "$few_url")
    local ours=$rebuild_ms types=$by_type_ms totals=$totals_ms ratio=$rebuild_ratio
    row "rebuild of $few facilities / GROUP BY" "<= 0.75" "$ratio" "ours $ours ms, GROUP BY with blood types $types ms" "$ratio <= 0.75"
    row "  beside totals only" "" "$(calculate %.2f "$ours / $totals")" "GROUP BY without blood types $totals ms"
    row "unchanged rebuild, summary rows written" "0" "$((after - before))" "$rounds rebuilds of $few facilities" "$after == $before"
    sql_file "$few_url" churn.sql
    DATABASE_URL=$few_url "$service" rebuild >/dev/null 2>&1 # refreshes the days that churn.sql changed
    compare_rebuild "$few_url" "$rounds"
    local slower
    slower=$(calculate %.2f "$rebuild_ms / $ours")
    row "  after 10 % churn" "<= 3 x" "$slower x" "ours $rebuild_ms ms, GROUP BY $by_type_ms ms, / GROUP BY $rebuild_ratio" "$slower <= 3"

    new_database many
    fill_database "$many"
    compare_rebuild "$database" "$(((rounds + 1) / 2))"
    local growth
    growth=$(calculate %.1f "$rebuild_ms / $ours")
    row "rebuild of $many facilities / of $few" "<= 12 x" "$growth x" "ours $rebuild_ms ms, GROUP BY $by_type_ms ms" "$growth <= 12"
    stop_postgres
}

fill_database() { # FACILITIES
    sql_file "$database" fill.sql facilities="$1" lots=500 activity=600
    DATABASE_URL=$database "$service" rebuild >/dev/null 2>&1 # opens the day
    sql "$database" 'VACUUM ANALYZE'
}

# compare_rebuild URL ROUNDS: sets $rebuild_ms, $by_type_ms and $totals_ms to medians, and
# $rebuild_ratio to the median of the pairs' ratios.
compare_rebuild() {
    local round
    : >"$folder/rounds"
    for ((round = 0; round < $2; round++)); do
        DATABASE_URL=$1 "$service" rebuild >/dev/null 2>&1
        rebuild_ms=$(last_run_ms "$1")
        by_type_ms=$(statement_ms "$1" group_by.sql)
        totals_ms=$(statement_ms "$1" group_by_totals.sql)
        echo "$rebuild_ms $by_type_ms $totals_ms" | tee -a "$folder/rounds" >&2
    done
    rebuild_ms=$(awk '{ print $1 }' "$folder/rounds" | median)
    by_type_ms=$(awk '{ print $2 }' "$folder/rounds" | median)
    totals_ms=$(awk '{ print $3 }' "$folder/rounds" | median)
    rebuild_ratio=$(awk '{ printf "%.3f\n", $1 / $2 }' "$folder/rounds" | median)
}
last_run_ms() { sql "$1" "SELECT round(extract(epoch FROM finished_at - started_at) * 1000) FROM job_runs WHERE state = 'done' ORDER BY started_at DESC LIMIT 1"; }
statement_ms() { psql -X -q -c '\timing on' -c '\o /dev/null' -f "load-tests/bench/sql/$2" "$1" | awk '/^Time/ { print $2 }'; }
# The number of rows that were ever inserted or updated. Postgres has counted them when the sessions
# that wrote them have ended.
summary_writes() { sql "$1" "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'dashboard_daily_summary'"; }
