# The tail of the hot read, beside actix-web alone, varnish and nginx: an open loop offers each of them
# the same rate, in turn, in one run. First while nothing else happens, then while the service takes
# 500 events a second and rebuilds all the time. The peers are then measured beside the same work, which
# takes its share of the same machine from them too.
#
# The client stands for users on other machines, and must not wait for a core on this one. So it runs
# with real-time priority where that is allowed (to root). Without it, it is late by milliseconds in the
# second half, and its lateness, which is printed, is most of what is measured.

need_tails() { require varnishd:varnish nginx; }

measure_tails() {
    local facilities=1000 days=7 rounds=5 seconds=10 connections=64 client=("$load")
    if [ -n "$quick" ]; then facilities=200 rounds=3 seconds=2; fi
    if chrt --rr 1 true 2>/dev/null; then client=(chrt --rr 1 "$load"); fi
    local url="sqlite://$folder/tails.db"
    DATABASE_URL=$url "$service" generate --facilities $facilities --days $days >"$folder/generate.log" 2>&1
    DATABASE_URL=$url "$service" rebuild --days $days >/dev/null 2>&1
    start_service "$url"
    rm -f "$folder/ids"
    paths "$facilities" $days >"$folder/paths"
    "$load" visit address="$address" paths="$folder/paths" connections=4 >&2
    "$load" fill address="$address" facility=$((facilities + 1)) lots=100 >/dev/null
    start_peers
    local name round rate first
    first=$(head -1 "$folder/paths")
    for name in floor varnish nginx ours; do
        until_it "$folder/$name.log" curl -sf "${url_of[$name]}$first"
        "$load" visit address="${url_of[$name]#http://}" paths="$folder/paths" connections=4 >/dev/null # every answer into the cache
    done
    for ((round = 0; round < rounds; round++)); do
        for rate in 15000 7500; do
            for name in floor varnish nginx ours; do tail_of quiet "$name" $rate "$seconds"; done
        done
    done
    work_behind $((facilities + 1)) $((rounds * 8 * (seconds + 1) + 60))
    for ((round = 0; round < rounds; round++)); do
        for rate in 15000 7500; do
            for name in floor varnish nginx ours; do tail_of busy "$name" $rate "$seconds"; done
        done
    done
    report_tails
    local pid
    for pid in "${processes[@]}"; do finish "$pid"; done
}

# tail_of STATE NAME RATE SECONDS: one line of figures.
tail_of() {
    local line
    line=$("${client[@]}" open address="${url_of[$2]#http://}" paths="$folder/paths" connections="$connections" rate="$3" seconds="$4")
    echo "$1 $2 $3 $line" | tee -a "$folder/tails" >&2
}

# work_behind FACILITY SECONDS: 500 events a second, and rebuilds one after the other.
work_behind() {
    start "$folder/events.log" "$load" writes address="$address" facility="$1" connections=50 every_ms=100 seconds="$2"
    start "$folder/rebuilds.log" bash -c "while curl -sf -X POST http://$address/v1/rebuild >/dev/null; do sleep 0.1; done"
}

report_tails() {
    local rate
    for rate in 15000 7500; do
        tail_row quiet $rate p50
        tail_row quiet $rate p99 1.0
        tail_row quiet $rate p999 1.3
    done
    tail_row busy 7500 p50
    tail_row busy 7500 p99 2.0
    tail_row busy 7500 p999 2.0
    # Without a goal: together with that work, the client and 15,000/s fill two cores, and a queue grows.
    tail_row busy 15000 p99
    tail_row busy 15000 p999
    local state late
    for state in quiet busy; do
        late=$(sed -n "s/^$state .* late_p99_us=\([^ ]*\).*/\1/p" "$folder/tails" | median)
        row "  the client's own lateness, $state, p99" "" "$late us" "median of all rounds; it is part of every latency above"
    done
}

# tail_row STATE RATE QUANTILE [GOAL]: ours by varnish's, round by round.
tail_row() {
    local ratio
    ratio=$(paste <(tails ours "$1" "$2" "$3") <(tails varnish "$1" "$2" "$3") | awk '{ printf "%.2f\n", $1 / $2 }' | median)
    row "hot read at $2/s, $1, $3 / varnish" "${4:+<= $4}" "$ratio" "ours $(tails ours "$@" | median) us, varnish $(tails varnish "$@" | median), floor $(tails floor "$@" | median), nginx $(tails nginx "$@" | median)" "${4:+$ratio <= $4}"
}
tails() { awk -v name="$1" -v state="$2" -v rate="$3" '$1 == state && $2 == name && $3 == rate' "$folder/tails" | sed "s/.* $4_us=\([^ ]*\).*/\1/"; } # NAME STATE RATE QUANTILE
