# From the start of the process to the first 200 of /health/ready, on SQLite.

need_start() { :; }

measure_start() {
    local times=11
    if [ -n "$quick" ]; then times=3; fi
    local port line
    DATABASE_URL=sqlite://$folder/start.db "$service" generate --facilities 1000 --days 2 >/dev/null 2>&1
    DATABASE_URL=sqlite://$folder/start.db "$service" rebuild --all >/dev/null 2>&1
    port=$(free_port)
    line=$(DATABASE_URL=sqlite://$folder/start.db BIND_ADDR=127.0.0.1:$port "$load" ready address=127.0.0.1:"$port" times=$times -- "$service" serve)
    row "start to ready, SQLite, 1000 facilities" "<= 150 ms" "$(value_of "$line" p50_ms) ms" "fastest $(value_of "$line" min_ms) ms, slowest $(value_of "$line" max_ms) ms of $times" "$(value_of "$line" p50_ms) <= 150"
    line=$(DATABASE_URL=sqlite://$folder/new.db BIND_ADDR=127.0.0.1:$port "$load" ready address=127.0.0.1:"$port" times=1 -- "$service" serve)
    row "  of a new database" "" "$(value_of "$line" p50_ms) ms" "with all migrations"
}
