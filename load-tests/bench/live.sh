# Clients of live updates over WebSocket: what each takes of memory, how fast they connect, and how long
# a change takes from its commit (updated_at) to the client, for changes of 1,000 facilities with ten
# viewers each, and of one facility that all follow. The load client checks each message: no version
# goes back, and at the end each client has the last one. Both run on this machine: the client takes
# about as much of it as the service.

need_live() { :; }

measure_live() {
    local clients=10000 seconds=20 rate=1000 line
    if [ -n "$quick" ]; then clients=2000 seconds=5 rate=200; fi
    live_round "live, $clients clients" 1000 "$rate" "$seconds"
    row "live: KiB of a client" "<= 10" "$(value_of "$line" kib_per_client)" "$line" "$(value_of "$line" kib_per_client) <= 10"
    row "live: connects a second" ">= 2000" "$(value_of "$line" connects_per_s)" "$(value_of "$line" lost) were lost" "$(value_of "$line" connects_per_s) >= 2000"
    row "live: commit to client, p99 ms" "<= 50" "$(value_of "$line" p99_ms)" "p50 $(value_of "$line" p50_ms) ms, $(value_of "$line" messages) messages" "$(value_of "$line" p99_ms) <= 50"
    row "live: versions back, clients without the last" "0" "$(value_of "$line" backwards)" "$(value_of "$line" incomplete) without" "$(value_of "$line" backwards) + $(value_of "$line" incomplete) == 0"
    live_round "live, one facility" 1 20 "$seconds"
    row "live: one facility, p99 ms" "<= 100" "$(value_of "$line" p99_ms)" "$(value_of "$line" cpu_us_per_message) us of the service's processor a message" "$(value_of "$line" p99_ms) <= 100"
}

# live_round NAME FACILITIES RATE SECONDS: sets $line
live_round() {
    start_service "sqlite://$folder/live-$2.db" FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE=0 FACILITY_SUMMARY__LIMITS__CONCURRENT_REQUESTS=0 \
        FACILITY_SUMMARY__SERVER__CONNECTIONS_PER_ADDRESS=0 FACILITY_SUMMARY__LIVE__CLIENTS_PER_ADDRESS=0
    "$load" stock address="$address" facilities="$2" lots=2 >/dev/null
    line=$("$load" live address="$address" clients="$clients" facilities="$2" rate="$3" seconds="$4" pid="$service_pid")
    echo "$1: $line" >&2
    finish "$service_pid"
}
