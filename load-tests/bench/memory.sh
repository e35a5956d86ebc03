# Resident memory when the service is idle, and the growth for each cached summary, compared with the
# length of its body.

need_memory() { require_postgres; }

measure_memory() {
    local facilities=1000 days=100
    if [ -n "$quick" ]; then days=20; fi
    start_service "sqlite://$folder/idle.db"
    settle
    row "idle memory, SQLite" "<= 30 MiB" "$(mebibytes) MiB" "resident, default settings, an empty database" "$(mebibytes) <= 30"
    finish "$service_pid"

    start_postgres shared_buffers=512MB
    new_database memory
    sql "$database" "SELECT set_config('facility_summary.refreshes', pg_current_xact_id()::text, true); INSERT INTO facilities (id, name)
        SELECT ('00000001-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'Facility ' || n FROM generate_series(1, $facilities) n" >"$folder/filled"
    sql_file "$database" summaries.sql facilities=$facilities days=$((days + 10))
    start_service "$database" FACILITY_SUMMARY__LOG__FILTER=warn FACILITY_SUMMARY__REBUILD__CRON=off
    settle
    row "idle memory, Postgres" "<= 30 MiB" "$(mebibytes) MiB" "resident, default settings, $facilities facilities" "$(mebibytes) <= 30"
    # The first reads also allocate memory for connections, statements and buffers, which do not count.
    summary_paths $facilities "$days" $((days + 9)) >"$folder/warm"
    summary_paths $facilities 0 $((days - 1)) >"$folder/cold"
    "$load" visit address="$address" paths="$folder/warm" connections=4 >/dev/null
    local before line entry body entries
    entries=$((facilities * days)) before=$(resident_kib)
    line=$("$load" visit address="$address" paths="$folder/cold" connections=4)
    entry=$(calculate %.0f "($(resident_kib) - $before) * 1024 / $entries") body=$(value_of "$line" body_bytes)
    local bound
    bound=$(calculate %.0f "1.2 * $body + 200")
    row "a cached summary" "<= $bound bytes" "$entry bytes" "1.2 x its body ($body bytes) + 200; resident growth over $entries entries" "$entry <= $bound"
    finish "$service_pid"
    stop_postgres
}

resident_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$service_pid/status"; }
mebibytes() { calculate %.1f "$(resident_kib) / 1024"; }
# The service is idle when the first tick of every loop is over, and no request comes.
settle() { sleep 5; }
summary_paths() { # FACILITIES FIRST_DAY LAST_DAY
    awk -v facilities="$1" -v first="$2" -v last="$3" 'BEGIN {
        for (n = 1; n <= facilities; n++) for (day = first; day <= last; day++)
            printf "/v1/facilities/00000001-0000-4000-8000-%012x/summaries/%s\n", n, strftime("%F", 1577836800 + 86400 * day, 1) }'
}
