# The rebuild of today of 1,000 facilities whose figures come from a hospital's tables, in turn with one GROUP BY statement of the owner. Without
# triggers, so that each rebuild reads all of them and proves them anew; then with triggers. Nothing changes meanwhile.

need_mapped() { require_postgres; }

measure_mapped() {
    local facilities=1000 rounds=9
    if [ -n "$quick" ]; then facilities=200 rounds=3; fi
    start_postgres autovacuum=off shared_buffers=1GB max_wal_size=16GB
    sql "$postgres" 'CREATE DATABASE mapped'
    database=${postgres%/*}/mapped
    sql_file "$database" hospital.sql facilities="$facilities"
    sql_file "$database" hospital_activity.sql facilities="$facilities"
    sql "$database" 'VACUUM ANALYZE'
    mapped_rebuild # opens the day
    sql "$database" 'VACUUM ANALYZE'
    local before after way
    before=$(sql "$database" "$mapped_written")
    mapped_rounds unwatched "$rounds"
    after=$(sql "$database" "$mapped_written")
    DATABASE_URL=$database "$service" adopt install --sources load-tests/bench/sql/hospital.toml >/dev/null 2>&1
    mapped_rebuild
    mapped_rounds watched "$rounds"
    stop_postgres
    local unwatched_ms watched_ms by_hand_ms share
    unwatched_ms=$(mapped_median unwatched 2) watched_ms=$(mapped_median watched 2) by_hand_ms=$(mapped_median unwatched 3)
    share=$(calculate %.3f "$unwatched_ms / 30000")
    row "rebuild of $facilities mapped facilities without triggers / 30 s" "<= 0.1" "$share" "$unwatched_ms ms; GROUP BY of the owner $by_hand_ms ms" "$share <= 0.1"
    row "  with triggers" "" "$(calculate %.2f "$watched_ms / $unwatched_ms") x" "$watched_ms ms: only compared, not proven anew"
    row "  unchanged, rows written" "0" "$((after - before))" "$rounds rebuilds without triggers" "$after == $before"
}

mapped_written="SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'dashboard_daily_summary'"
mapped_rebuild() { DATABASE_URL=$database "$service" --sources load-tests/bench/sql/hospital.toml rebuild >/dev/null 2>&1; }
mapped_rounds() { # NAME ROUNDS
    local round
    for ((round = 0; round < $2; round++)); do
        mapped_rebuild
        echo "$1 $(sql "$database" "SELECT round(extract(epoch FROM finished_at - started_at) * 1000) FROM facility_summary.job_runs
            WHERE state = 'done' ORDER BY started_at DESC LIMIT 1") $(statement_ms "$database" hospital_group_by.sql)"
    done | tee -a "$folder/mapped" >&2
}
mapped_median() { awk -v of="$1" -v column="$2" '$1 == of { print $column }' "$folder/mapped" | median; }
