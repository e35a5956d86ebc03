# pgbench runs the service's look-up statement, in turn on 10,000 and on 10 million summary rows.

need_lookup() { require_postgres; }

measure_lookup() {
    local few=10000 many=10000000 rounds=5 seconds=5
    if [ -n "$quick" ]; then many=1000000 rounds=2 seconds=2; fi
    start_postgres shared_buffers=1GB max_wal_size=16GB
    local rows
    for rows in $few $many; do
        new_database "rows_$rows"
        sql_file "$database" summaries.sql facilities=$((rows / 100)) days=100
        sql "$database" 'VACUUM ANALYZE dashboard_daily_summary'
    done
    {
        printf '\\set facility random(1, :facilities)\n\\set day random(0, 99)\n'
        sed -e "s#\$1::uuid\[\]#ARRAY[('00000001-0000-4000-8000-' || lpad(to_hex(:facility::bigint), 12, '0'))::uuid]#" \
            -e "s#\$2::text\[\]#ARRAY[('2020-01-01'::date + :day::integer)::text]#" sql/postgres/summaries.sql
        echo ';'
    } >"$folder/lookup.sql"
    local round few_us many_us ratio
    for ((round = 0; round < rounds; round++)); do
        few_us=$(lookup_us "rows_$few" $((few / 100)) "$seconds")
        many_us=$(lookup_us "rows_$many" $((many / 100)) "$seconds")
        echo "$few_us $many_us" | tee -a "$folder/lookups" >&2
    done
    stop_postgres
    few_us=$(awk '{ print $1 }' "$folder/lookups" | median) many_us=$(awk '{ print $2 }' "$folder/lookups" | median)
    ratio=$(awk '{ printf "%.3f\n", $2 / $1 }' "$folder/lookups" | median)
    row "look-up among $many rows / among $few" "<= 1.25 x" "$ratio x" "$many_us us, $few_us us a round trip" "$ratio <= 1.25"
}

lookup_us() { # DATABASE FACILITIES SECONDS
    "$(postgres_program pgbench)" -n -M prepared -c 1 -T "$3" -D facilities="$2" -f "$folder/lookup.sql" "${postgres%/*}/$1" 2>/dev/null |
        awk '/latency average/ { printf "%.1f", $4 * 1000 }'
}
