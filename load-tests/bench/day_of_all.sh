# The day of all facilities from its view: pages of 500, beside actix-web alone serving bodies of the same size, in turn, in one run. SQLite
# with default settings; the first page after a start also on Postgres.

need_day_of_all() { require wrk; require_postgres; }

measure_day_of_all() {
    local facilities=10000 most=100000 rounds=5 seconds=5
    if [ -n "$quick" ]; then facilities=2000 most=5000 rounds=2 seconds=1; fi
    local port
    port=$(free_port)
    start "$folder/floor.log" "$floor" "$port" "$(nproc)"
    local floor_pid=$started floor_url=http://127.0.0.1:$port
    until_it "$folder/floor.log" curl -sf "$floor_url/bytes/1"
    local size
    for size in 1000 "$facilities" "$most"; do
        measure_pages "$size"
        if [ "$size" = "$facilities" ]; then measure_under_changes; fi
        finish "$service_pid"
    done
    row "page of 500, microseconds: 1,000 / $facilities / $most facilities" "flat" "$(paste -sd/ "$folder/page_costs")" "processor time of a request"
    start_postgres
    first_page "$postgres" "$facilities" 500 Postgres
    finish "$service_pid"
    finish "$floor_pid"
}

measure_pages() {
    local url="sqlite://$folder/day_$1.db"
    first_page "$url" "$1" 300 SQLite
    day_path=/v1/summaries/today?limit=500
    curl -sf "http://$address$day_path" >"$folder/page.json"
    bytes=$(wc -c <"$folder/page.json")
    etag=$(curl -sfI "http://$address$day_path" | awk 'tolower($1) == "etag:" { print $2 }' | tr -d '\r')
    until_idle
    local before spent rate
    before=$(processor_us "$service_pid")
    rate=$(day_rate "http://$address$day_path" "$seconds")
    spent=$(($(processor_us "$service_pid") - before))
    calculate %.1f "$spent / ($rate * $seconds)" >>"$folder/page_costs"
    echo >>"$folder/page_costs"
    if [ "$1" != "$facilities" ]; then return; fi
    day_pair "page of 500 of $1 facilities" 0.85
    day_pair "304 of that page" 0.9 "$etag"
    local held
    held=$(calculate %.1f "$(metric summary_view_bytes) / 1048576")
    row "a view of $1 facilities, MiB beside its entries" "<= 12" "$held" "figures, orders and pages" "$held <= 12"
}

# until_idle: waits until the service takes less than 0.1 s of processor time in a second, a minute at most. The work after a
# start (the rebuild, at 100,000 facilities) would count for the pages else.
until_idle() {
    local before tries
    for ((tries = 0; tries < 60; tries++)); do
        before=$(processor_us "$service_pid")
        sleep 1
        if [ $(($(processor_us "$service_pid") - before)) -lt 100000 ]; then return; fi
    done
    echo "bench.sh: the service was still busy with its own work after a minute" >&2
}

measure_under_changes() {
    start "$folder/changes.log" python3 load-tests/bench/changes.py "$address" 500 $((2 * rounds * seconds + 5))
    local changes=$started spent_before taken_before taken spent
    spent_before=$(metric summary_view_change_duration_seconds_sum) taken_before=$(metric summary_view_change_duration_seconds_count)
    day_pair "the same while 500 changes a second arrive" 0.6
    wait "$changes"
    taken=$(calculate %.0f "$(metric summary_view_change_duration_seconds_count) - $taken_before")
    spent=$(calculate %.1f "($(metric summary_view_change_duration_seconds_sum) - $spent_before) * 1000000 / $taken")
    row "  totals and orders after one change, $facilities facilities" "<= 50 us" "$spent us" "mean of $taken changes, waiting for the lock included" "$spent <= 50"
    row "  changes a second that arrived" "" "$(value_of "$(cat "$folder/changes.log")" rate)" "by HTTP, one event each"
}

# first_page URL FACILITIES GOAL STORE: the time of the first page after a start, in milliseconds.
first_page() {
    DATABASE_URL=$1 "$service" generate --facilities "$2" --days 1 >"$folder/generate.log" 2>&1
    DATABASE_URL=$1 "$service" rebuild --days 1 >/dev/null 2>&1
    start_service "$1" FACILITY_SUMMARY__LOG__FILTER=warn
    local answer ms
    answer=$(curl -s -o /dev/null -w '%{time_total} %{http_code}' "http://$address/v1/summaries/today?limit=500")
    ms=$(awk '{ printf "%.0f", $1 * 1000 }' <<<"$answer")
    if [ "$2" = "$facilities" ]; then
        row "first page after a start, $2 facilities, $4" "<= $3 ms" "$ms ms" "status ${answer#* }" "$ms <= $3"
    else
        row "first page after a start, $2 facilities, $4" "" "$ms ms" "status ${answer#* }"
        until_it "$folder/service.log" curl -sf "http://$address/v1/summaries/today?limit=500"
    fi
}

# day_pair FIGURE GOAL [ETAG]: in turn with the floor; the median of the ratios, pair by pair.
day_pair() {
    local round ours beside ratio floor_tag=${3:+\"0123456789abcdef\"}
    rm -f "$folder/pairs"
    for ((round = 0; round < rounds; round++)); do
        beside=$(day_rate "$floor_url/bytes/$bytes" "$seconds" "$floor_tag")
        ours=$(day_rate "http://$address$day_path" "$seconds" "${3:-}")
        echo "$ours $beside" | tee -a "$folder/pairs" >&2
    done
    ratio=$(awk '{ printf "%.3f\n", $1 / $2 }' "$folder/pairs" | median)
    row "$1, ours / floor" ">= $2" "$ratio" "ours $(awk '{ print $1 }' "$folder/pairs" | median)/s, actix-web alone $(awk '{ print $2 }' "$folder/pairs" | median)/s, $bytes bytes" "$ratio >= $2"
}

day_rate() { # day_rate URL SECONDS [ETAG]: requests a second
    wrk -t1 -c64 "-d$2s" ${3:+-H "If-None-Match: $3"} "$1" >"$folder/wrk.out"
    if grep -q Non-2xx "$folder/wrk.out"; then echo "$1: $(grep Non-2xx "$folder/wrk.out")" >&2; exit 1; fi
    awk '/Requests\/sec/ { printf "%.0f\n", $2 }' "$folder/wrk.out"
}
