# Reads of days that memory does not hold and the table has, on both stores: one after the other,
# in turn with a bare SELECT of the row by its primary key through sqlx, and a thousand at the same
# instant. Each is cold, since the service was started just before.

need_cold() { require_postgres; }

measure_cold() {
    local facilities=1000
    if [ -n "$quick" ]; then facilities=200; fi
    start_postgres
    new_database cold
    cold_reads "Postgres" "$database" $facilities
    stop_postgres
    cold_reads "SQLite" "sqlite://$folder/cold.db" $facilities
}

cold_reads() { # STORE URL FACILITIES
    local date line at_once ratio
    date=$(date -u -d yesterday +%F) # has begun everywhere
    DATABASE_URL=$2 "$service" generate --facilities "$3" --days 2 >"$folder/generate.log" 2>&1
    DATABASE_URL=$2 "$service" rebuild --days 2 >/dev/null 2>&1
    start_service "$2" # deals with what the commands left behind, and so has it in memory
    rm -f "$folder/ids"
    paths "$3" 1 >/dev/null
    finish "$service_pid"
    start_service "$2"
    sed "s#.*#/v1/facilities/&/summaries/$date#" "$folder/ids" >"$folder/cold.paths"
    line=$("$load" cold address="$address" server="$2" paths="$folder/cold.paths")
    echo "$1: $line" >&2
    finish "$service_pid"
    ratio=$(calculate %.2f "$(value_of "$line" cold_p50_us) / $(value_of "$line" select_p50_us)")
    row "cold read on $1 / bare SELECT by sqlx, median" "<= 3" "$ratio" "$(value_of "$line" cold_p50_us) us, SELECT $(value_of "$line" select_p50_us) us, from memory $(value_of "$line" memory_p50_us) us; $(value_of "$line" elsewhere) from another tier" \
        "$ratio <= 3"
    start_service "$2"
    at_once=$("$load" at_once address="$address" paths="$folder/cold.paths")
    line=$(metric 'summary_table_reads_total{server="primary"}')
    finish "$service_pid"
    row "statements for $3 cold days at once on $1" "<= 5" "$line" "$(value_of "$at_once" answered) answered in $(value_of "$at_once" ms) ms, sent within $(value_of "$at_once" sent_ms) ms" \
        "$line <= 5"
}
