# What our triggers cost the writers of mapped tables: the same statements on copies of a hospital's database, in turn. One has the triggers;
# another has the same triggers with functions that do nothing: none of this kind costs less. Durable (fsync and synchronous_commit on). No
# service runs: its reads are not the triggers' cost.

need_triggers() { require_postgres; }

measure_triggers() {
    local rounds=5 seconds=1
    if [ -n "$quick" ]; then rounds=3; fi
    start_postgres fsync=on synchronous_commit=on full_page_writes=on shared_buffers=512MB max_wal_size=8GB checkpoint_timeout=1h autovacuum=off
    sql "$postgres" 'CREATE DATABASE plain'
    psql -X -q -v ON_ERROR_STOP=1 -v facilities=1000 "${postgres%/*}/plain" -f load-tests/bench/sql/hospital.sql
    sql "${postgres%/*}/plain" 'VACUUM ANALYZE'
    sql "$postgres" 'CREATE DATABASE watched TEMPLATE plain'
    DATABASE_URL=${postgres%/*}/watched "$service" adopt install --sources load-tests/bench/sql/hospital.toml >&2
    sql "$postgres" 'CREATE DATABASE idle TEMPLATE watched'
    sql_file "${postgres%/*}/idle" idle_triggers.sql
    {
        printf '\\set store random(1, 3000)\n'
        echo "INSERT INTO public.bag (store_id, abo, rh) VALUES (:store, 'A', '+');"
    } >"$folder/single.sql"
    {
        echo 'BEGIN;'
        for ((n = 0; n < 100; n++)); do cat "$folder/single.sql"; done
        echo 'COMMIT;'
    } >"$folder/hundred.sql"
    psql -X -q -A -t -F ' ' "${postgres%/*}/plain" >"$folder/movements" -c "COPY (SELECT CASE n % 2 WHEN 0 THEN 'delivery' ELSE 'request' END, \
        1 + n % 1000, 'O+', 1, now()::timestamp - (n % 90) * interval '1 day' FROM generate_series(1, 500000) AS n) TO STDOUT"
    # In turn, and each time in the other order. The short ones often: the time of a commit changes from second to second.
    local round database order
    for ((round = 0; round < rounds * 5; round++)); do
        order="plain idle watched"
        if ((round % 2)); then order="watched idle plain"; fi
        for database in $order; do
            echo "single $database $(triggers_latency single $database 1 "$seconds")"
            echo "busy $database $(triggers_latency single $database 8 "$seconds")"
            echo "hundred $database $(triggers_latency hundred $database 1 "$seconds")"
            if ((round % 5 == 0)); then
                echo "update $database $(triggers_timed $database "UPDATE public.bag SET state = 'reserved' WHERE id BETWEEN $((round * 2000 + 1)) AND $((round * 2000 + 10000))")"
                echo "copy $database $(triggers_timed $database "\\copy public.movement (kind, hospital_id, product, units, at) FROM $folder/movements")"
                sql "${postgres%/*}/$database" 'TRUNCATE public.movement' && sql "${postgres%/*}/$database" 'VACUUM public.bag'
                [ $database = plain ] || sql "${postgres%/*}/$database" 'TRUNCATE facility_summary.summary_marks, facility_summary.noticed_rows'
                sql "${postgres%/*}/$database" 'CHECKPOINT'
            fi
        done
    done | tee "$folder/triggers" >&2
    stop_postgres
    local what words ratio
    while read -r what words; do
        ratio=$(triggers_ratio "$what" watched)
        row "$words, with triggers / without" "<= 1.15 x" "$ratio x ($(triggers_median "$what" watched) ms)" \
            "without: $(triggers_median "$what" plain) ms; triggers that do nothing: $(triggers_ratio "$what" idle) x" "$ratio <= 1.15"
    done <<'ROWS'
single a single insert
busy a single insert, 8 connections
hundred 100 inserts in a transaction
update an update of 10,000 rows
copy COPY of 500,000 rows
ROWS
}

triggers_latency() { # SCRIPT DATABASE CLIENTS SECONDS: milliseconds of a transaction
    "$(postgres_program pgbench)" -n -M prepared -c "$3" -j 2 -T "$4" -f "$folder/$1.sql" "${postgres%/*}/$2" 2>/dev/null | awk '/latency average/ { print $4 }'
}
triggers_timed() { # DATABASE STATEMENT: its milliseconds
    printf '\\timing on\n%s\n' "$2" | psql -X -q -A -t -v ON_ERROR_STOP=1 "${postgres%/*}/$1" | awk '/^Time/ { print $2 }'
}
triggers_median() { grep "^$1 $2 " "$folder/triggers" | awk '{ print $3 }' | median; }
triggers_ratio() { # WHAT DATABASE: the median over the rounds of its time as a multiple of that without triggers
    paste <(grep "^$1 $2 " "$folder/triggers") <(grep "^$1 plain " "$folder/triggers") | awk '{ printf "%.3f\n", $3 / $6 }' | median
}
