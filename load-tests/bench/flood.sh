# What others notice while one client floods the service: hot reads of a client within its limits, alone
# and beside a client that sends as much as it can, nearly all of which is refused. Both are behind a
# trusted proxy, which is this machine: the flood names another address. And what a refused request costs.
#
# As in `tails`, the reader stands for users on other machines, and must not wait for a core on this one.
# The client that floods stands for another machine, too, and takes only what the service leaves of this
# one: otherwise the service waits for that client, and not for its requests.

need_flood() { require wrk; }

measure_flood() {
    local facilities=200 days=2 rounds=7 seconds=5 rate=500 client=("$load")
    if [ -n "$quick" ]; then rounds=3 seconds=2; fi
    if chrt --rr 1 true 2>/dev/null; then client=(chrt --rr 1 "$load"); fi
    local url="sqlite://$folder/flood.db"
    DATABASE_URL=$url "$service" generate --facilities $facilities --days $days >"$folder/generate.log" 2>&1
    DATABASE_URL=$url "$service" rebuild --days $days >/dev/null 2>&1
    # The reader may send 1,000 a second, and sends half of it.
    start_service "$url" FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE=60000 FACILITY_SUMMARY__SERVER__TRUSTED_PROXIES=127.0.0.1
    rm -f "$folder/ids"
    paths "$facilities" $days >"$folder/paths"
    "$load" visit address="$address" paths="$folder/paths" connections=4 >/dev/null
    local round
    flood 3 # uses the flood's budget up
    for ((round = 0; round < rounds; round++)); do
        echo "alone $("${client[@]}" open address="$address" paths="$folder/paths" connections=16 rate=$rate seconds="$seconds")" | tee -a "$folder/flood" >&2
        flood $((seconds + 2)) &
        local flooding=$!
        sleep 1
        echo "beside $("${client[@]}" open address="$address" paths="$folder/paths" connections=16 rate=$rate seconds="$seconds")" | tee -a "$folder/flood" >&2
        wait "$flooding"
    done
    local ratio before spent refused
    ratio=$(paste <(flood_figure beside p99_us) <(flood_figure alone p99_us) | awk '{ printf "%.2f\n", $1 / $2 }' | median)
    row "hot read beside a flood, p99 / alone" "<= 2" "$ratio" "alone $(flood_figure alone p99_us | median) us, beside $(flood_figure beside p99_us | median) us; the flood $(median <"$folder/flood.rates")/s" "$ratio <= 2"
    before=$(processor_us "$service_pid") refused=$(metric 'http_requests_limited_total{client="address",limit="requests"}')
    flood "$seconds"
    spent=$(($(processor_us "$service_pid") - before))
    refused=$(($(metric 'http_requests_limited_total{client="address",limit="requests"}') - refused))
    row "a refused request, processor time" "" "$(calculate %.2f "$spent / $refused") us" "$refused refused"
    finish "$service_pid"
}

# flood SECONDS: reads from another address, as many as go.
flood() {
    PATHS=$folder/paths chrt --idle 0 wrk -t1 -c32 "-d$1s" -H "X-Forwarded-For: 192.0.2.1" -s load-tests/bench/paths.lua "http://$address" >"$folder/flood.out"
    awk '/Requests\/sec/ { print $2 }' "$folder/flood.out" >>"$folder/flood.rates"
}
flood_figure() { awk -v state="$1" '$1 == state' "$folder/flood" | sed "s/.* $2=\([^ ]*\).*/\1/"; } # STATE NAME
