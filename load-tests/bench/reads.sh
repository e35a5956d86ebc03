# The hot read on 1,000 facilities and 7 days with default settings on SQLite, compared with actix-web
# alone, varnish and nginx, in turn and in one run. Rates are compared pair by pair, since the speed of
# a shared machine changes. The processor time of a request changes least.

need_reads() { require wrk varnishd:varnish nginx; }

measure_reads() {
    local facilities=1000 days=7 rounds=5 seconds=5
    if [ -n "$quick" ]; then facilities=200 rounds=2 seconds=1; fi
    local url="sqlite://$folder/reads.db"
    DATABASE_URL=$url "$service" generate --facilities $facilities --days $days >"$folder/generate.log" 2>&1
    DATABASE_URL=$url "$service" rebuild --days $days >/dev/null 2>&1
    start_service "$url"
    paths "$facilities" $days >"$folder/paths"
    "$load" visit address="$address" paths="$folder/paths" connections=4 >&2

    start_peers

    local name round first
    first=$(head -1 "$folder/paths")
    for name in floor nginx varnish ours; do
        until_it "$folder/$name.log" curl -sf "${url_of[$name]}$first"
        wrk_once "$name" 2 >/dev/null # puts every answer into the caches
    done
    for ((round = 0; round < rounds; round++)); do
        for name in floor nginx varnish ours; do wrk_once "$name" "$seconds" | tee -a "$folder/rates" >&2; done
    done
    report_reads
    local pid
    for pid in "${processes[@]}"; do finish "$pid"; done
}

# wrk_once NAME SECONDS: prints the name, requests a second, p99, and microseconds of processor time a
# request (0 if that is not known).
wrk_once() {
    local before spent
    before=$(processor_us "${pid_of[$1]:-}")
    PATHS=$folder/paths wrk -t1 -c64 "-d$2s" --latency -s load-tests/bench/paths.lua "${url_of[$1]}" >"$folder/wrk.out"
    if grep -q Non-2xx "$folder/wrk.out"; then echo "$1: $(grep Non-2xx "$folder/wrk.out")" >&2; exit 1; fi
    spent=$(($(processor_us "${pid_of[$1]:-}") - before))
    awk -v name="$1" -v spent="$spent" '/Requests\/sec/ { rate = $2 } /99%/ { p99 = $2 } / requests in / { count = $1 }
        END { printf "%s %.0f %s %.2f\n", name, rate, p99, spent / count }' "$folder/wrk.out"
}

report_reads() {
    local floor_rate our_rate
    floor_rate=$(column floor 2 | median) our_rate=$(column ours 2 | median)
    local to_floor to_varnish to_nginx to_floor_cpu
    to_floor=$(ratio floor 2) to_varnish=$(ratio varnish 2) to_nginx=$(ratio nginx 2) to_floor_cpu=$(ratio floor 4)
    row "hot read, ours / floor" ">= 0.90" "$to_floor" "ours $our_rate/s, actix-web alone $floor_rate/s" "$to_floor >= 0.90"
    row "hot read, processor time / floor" "<= 1.15" "$to_floor_cpu" "ours $(column ours 4 | median) us, floor $(column floor 4 | median) us a request" "$to_floor_cpu <= 1.15"
    row "hot read, ours / varnish" "> 1" "$to_varnish" "varnish $(column varnish 2 | median)/s" "$to_varnish > 1"
    row "hot read, ours / nginx cache" "" "$to_nginx" "nginx $(column nginx 2 | median)/s"
}
column() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$folder/rates"; } # column NAME NUMBER
ratio() { paste <(column ours "$2") <(column "$1" "$2") | awk '{ printf "%.3f\n", $1 / $2 }' | median; } # ratio PEER NUMBER: the median of the pairs' ratios
