# Reads of many days: ranges of one facility, beside actix-web alone serving bodies of the same size, in turn, in one run. SQLite, default
# settings, everything in memory.

need_lists() { require wrk; }

measure_lists() {
    local facilities=50 days=400 rounds=5 seconds=5
    if [ -n "$quick" ]; then facilities=10 rounds=2 seconds=1; fi
    lists_floor
    measure_ranges
    finish "$lists_floor_pid"
}

# The floor's address in $lists_floor; it serves any number of bytes.
lists_floor() {
    local port
    port=$(free_port)
    start "$folder/lists_floor.log" "$floor" "$port" "$(nproc)"
    lists_floor_pid=$started lists_floor=http://127.0.0.1:$port
    until_it "$folder/lists_floor.log" curl -sf "$lists_floor/bytes/1"
}

measure_ranges() {
    local url="sqlite://$folder/lists.db" span from
    DATABASE_URL=$url "$service" generate --facilities $facilities --days $days >"$folder/generate.log" 2>&1
    DATABASE_URL=$url "$service" rebuild --days $days >/dev/null 2>&1
    start_service "$url" FACILITY_SUMMARY__LOG__FILTER=warn
    for span in 7 30 $days; do
        from=$(date -u -d "$((span - 2)) days ago" +%F) # begun everywhere; today may be one more day in the east
        facility_ids | sed "s#.*#/v1/facilities/&/summaries?from=$from#" >"$folder/range_$span"
        list_pair "range of $span days" 0.85 "$folder/range_$span"
    done
    finish "$service_pid"
}

# facility_ids: those of the running service, one a line; at most 500.
facility_ids() {
    curl -sf "http://$address/v1/facilities?limit=500" |
        python3 -c 'import json, sys; [print(item["facility_id"]) for item in json.load(sys.stdin)["items"]]'
}

# list_pair FIGURE GOAL PATHS: reads of the paths from memory, in turn with the floor serving bodies of their mean size. The median of the
# ratios, pair by pair. Then beside the floor serving as many different bodies: one body stays in the processor's caches, many do not.
list_pair() {
    local figure=$1 goal=$2 paths=$3 bytes round ours beside many
    "$load" visit address="$address" paths="$paths" connections=4 >/dev/null
    bytes=$(value_of "$("$load" visit address="$address" paths="$paths" connections=4)" body_bytes)
    echo "/bytes/$(calculate %.0f "$bytes")" >"$folder/floor_paths"
    awk -v bytes="$(calculate %.0f "$bytes")" '{ print "/bodies/" bytes "/" NR }' "$paths" >"$folder/floor_many"
    rm -f "$folder/pairs"
    list_rate "http://$address" "$paths" 1 >/dev/null
    list_rate "$lists_floor" "$folder/floor_paths" 1 >/dev/null
    for ((round = 0; round < rounds; round++)); do
        beside=$(list_rate "$lists_floor" "$folder/floor_paths" "$seconds")
        ours=$(list_rate "http://$address" "$paths" "$seconds")
        many=$(list_rate "$lists_floor" "$folder/floor_many" "$seconds")
        echo "$ours $beside $many" | tee -a "$folder/pairs" >&2
    done
    local ratio
    ratio=$(awk '{ printf "%.3f\n", $1 / $2 }' "$folder/pairs" | median)
    row "$figure, ours / floor" ">= $goal" "$ratio" "ours $(awk '{ print $1 }' "$folder/pairs" | median)/s, actix-web alone $(awk '{ print $2 }' "$folder/pairs" | median)/s, $bytes bytes" "$ratio >= $goal"
    ratio=$(awk '{ printf "%.3f\n", $1 / $3 }' "$folder/pairs" | median)
    row "  beside $(wc -l <"$paths") different bodies" "" "$ratio" "actix-web alone $(awk '{ print $3 }' "$folder/pairs" | median)/s"
}

list_rate() { # list_rate URL PATHS SECONDS: requests a second
    PATHS=$2 wrk -t1 -c64 "-d$3s" -s load-tests/bench/paths.lua "$1" >"$folder/wrk.out"
    if grep -q Non-2xx "$folder/wrk.out"; then echo "$1: $(grep Non-2xx "$folder/wrk.out")" >&2; exit 1; fi
    awk '/Requests\/sec/ { printf "%.0f\n", $2 }' "$folder/wrk.out"
}
