# Reads of days that memory does not hold and the table has, on both stores: one after the other,
# in turn with a bare SELECT of the row by its primary key through sqlx, and a thousand at the same
# instant. Each is cold, since the service was started just before. Which processor each thread of
# the three programs gets, and with it the ratio, changes from start to start: so the median of
# several starts counts.

need_cold() { require_postgres; }

measure_cold() {
    local facilities=1000 rounds=7
    if [ -n "$quick" ]; then facilities=200 rounds=5; fi
    start_postgres
    new_database cold
    cold_reads "Postgres" "$database" $facilities
    stop_postgres
    cold_reads "SQLite" "sqlite://$folder/cold.db" $facilities
}

cold_reads() { # STORE URL FACILITIES
    local date line at_once ratio round
    date=$(date -u -d '2 days ago' +%F) # is over everywhere, and each facility has figures of it
    DATABASE_URL=$2 "$service" generate --facilities "$3" --days 3 >"$folder/generate.log" 2>&1
    DATABASE_URL=$2 "$service" rebuild --days 3 >/dev/null 2>&1
    start_service "$2" # deals with what the commands left behind, and so has it in memory
    rm -f "$folder/ids"
    paths "$3" 1 >/dev/null
    finish "$service_pid"
    sed "s#.*#/v1/facilities/&/summaries/$date#" "$folder/ids" >"$folder/cold.paths"
    rm -f "$folder/pairs"
    for ((round = 0; round < rounds; round++)); do
        start_service "$2"
        line=$("$load" cold address="$address" server="$2" paths="$folder/cold.paths")
        echo "$1: $line" >&2
        finish "$service_pid"
        echo "$(value_of "$line" cold_p50_us) $(value_of "$line" select_p50_us) $(value_of "$line" memory_p50_us) $(value_of "$line" elsewhere)" >>"$folder/pairs"
    done
    ratio=$(awk '{ printf "%.2f\n", $1 / $2 }' "$folder/pairs" | median)
    row "cold read on $1 / bare SELECT by sqlx, median" "<= 3" "$ratio" "$(awk '{ print $1 }' "$folder/pairs" | median) us, SELECT $(awk '{ print $2 }' "$folder/pairs" | median) us, from memory $(awk '{ print $3 }' "$folder/pairs" | median) us; of $rounds starts $(awk '{ printf "%.2f\n", $1 / $2 }' "$folder/pairs" | sort -n | sed -n '1p;$p' | paste -sd-); $(awk '{ n += $4 } END { print n }' "$folder/pairs") from another tier" \
        "$ratio <= 3"
    start_service "$2"
    at_once=$("$load" at_once address="$address" paths="$folder/cold.paths")
    line=$(metric 'summary_table_reads_total{server="primary"}')
    finish "$service_pid"
    row "statements for $3 cold days at once on $1" "<= 5" "$line" "$(value_of "$at_once" answered) answered in $(value_of "$at_once" ms) ms, sent within $(value_of "$at_once" sent_ms) ms" \
        "$line <= 5"
}
