# What sign-in costs: the look-up alone, the hot read with a key and without, and beside a flood of
# unknown tokens. And whether the time of a refusal tells that a facility exists.

need_access() { require wrk openssl; }

measure_access() {
    local rounds=9 seconds=5
    if [ -n "$quick" ]; then rounds=2 seconds=1; fi
    cargo test --release --locked --quiet --test access_cost -- --nocapture >"$folder/access.out"
    local line key_us tokens_us
    line=$(grep -o 'key_us=.*' "$folder/access.out")
    key_us=$(value_of "$line" key_us) tokens_us=$(value_of "$line" tokens_us)
    row "look-up of one API key" "<= 0.15 us" "$key_us us" "processor time" "$key_us <= 0.15"
    row "look-up of $(value_of "$line" tokens) tokens in turn" "<= 1.5 us" "$tokens_us us" "of $(value_of "$line" token_bytes) bytes each" "$tokens_us <= 1.5"

    local url="sqlite://$folder/access.db" secret="a secret of the benchmark, which is long enough"
    DATABASE_URL=$url "$service" generate --facilities 1000 --days 1 >"$folder/generate.log" 2>&1
    DATABASE_URL=$url "$service" rebuild --days 1 >/dev/null 2>&1
    local key
    key=$(DATABASE_URL=$url "$service" key add --role viewer --all-facilities --name bench 2>/dev/null)
    start_service "$url"
    local open_pid=$service_pid open_address=$address
    paths 1000 1 >"$folder/access.paths"
    # A second server on a copy: one SQLite file has one server.
    cp "$folder/access.db" "$folder/access-2.db"
    start_service "sqlite://$folder/access-2.db" FACILITY_SUMMARY__AUTH__SECRET="$secret"
    "$load" visit address="$open_address" paths="$folder/access.paths" connections=4 >&2
    access_wrk "$service_pid" "$address" 2 "$key" >/dev/null
    access_wrk "$open_pid" "$open_address" 2 "" >/dev/null

    local round ratio without with
    for ((round = 0; round < rounds; round++)); do
        without=$(access_wrk "$open_pid" "$open_address" "$seconds" "")
        with=$(access_wrk "$service_pid" "$address" "$seconds" "$key")
        echo "$without $with" | tee -a "$folder/access.pairs" >&2
    done
    ratio=$(awk '{ printf "%.3f\n", $4 / $2 }' "$folder/access.pairs" | median)
    row "hot read, with a key / without" "<= 1.02" "$ratio" "$(awk '{ print $4 }' "$folder/access.pairs" | median) us, $(awk '{ print $2 }' "$folder/access.pairs" | median) us of processor time" "$ratio <= 1.02"

    measure_access_flood "$key" "$secret" "$seconds"
    measure_access_refusals "$url" "$secret"
    finish "$service_pid"
    finish "$open_pid"
}

# access_wrk PID ADDRESS SECONDS KEY: prints the p99 in us and the processor time of a request in us.
access_wrk() {
    local before spent header=()
    if [ -n "$4" ]; then header=(-H "Authorization: Bearer $4"); fi
    before=$(processor_us "$1")
    PATHS=$folder/access.paths wrk -t1 -c16 "-d$3s" --latency "${header[@]}" -s load-tests/bench/paths.lua "http://$2" >"$folder/wrk.out"
    if grep -q Non-2xx "$folder/wrk.out"; then grep Non-2xx "$folder/wrk.out" >&2; exit 1; fi
    spent=$(($(processor_us "$1") - before))
    awk -v spent="$spent" '/99%/ { p99 = $2 } / requests in / { count = $1 }
        END { unit = 1; if (p99 ~ /ms$/) unit = 1000; else if (p99 !~ /us$/) unit = 1000000; printf "%.0f %.3f\n", p99 * unit, spent / count }' "$folder/wrk.out"
}

# Tokens of the right form whose signature is wrong: each costs a check, and none is remembered.
measure_access_flood() { # KEY SECRET SECONDS
    local token quiet flooded
    token=$(FACILITY_SUMMARY__AUTH__SECRET=$2 "$service" token mint --role viewer --all-facilities --ttl 1d 2>/dev/null)
    cat >"$folder/flood.lua" <<'LUA'
local token, nth = os.getenv("TOKEN"), 0
function request()
   nth = nth + 1
   return wrk.format("GET", "/v1/auth/me", { Authorization = "Bearer " .. token:sub(1, -13) .. string.format("%012d", nth) })
end
LUA
    quiet=$(access_wrk "$service_pid" "$address" "$3" "$1")
    TOKEN=$token start "$folder/flood.out" chrt --idle 0 env TOKEN="$token" wrk -t1 -c4 "-d$(($3 + 2))s" -s "$folder/flood.lua" "http://$address"
    local flood=$started
    sleep 1
    flooded=$(access_wrk "$service_pid" "$address" "$3" "$1")
    wait "$flood" || true
    row "hot read beside a flood of unknown tokens, p99" "" "${flooded% *} us" "${quiet% *} us without it; $(awk '/Requests\/sec/ { print $2 }' "$folder/flood.out") unknown tokens/s on the same processors"
}

# The same client asks in turn for a facility of others and for one that does not exist, each time another.
measure_access_refusals() { # URL SECRET
    local viewer
    viewer=$(FACILITY_SUMMARY__AUTH__SECRET=$2 "$service" token mint --role viewer --facility 00000000-0000-4000-8000-000000000001 --ttl 1d 2>/dev/null)
    python3 - "$address" "$viewer" "$folder/access.paths" >"$folder/refusals" <<'PYTHON'
import http.client, math, sys, time
address, token, paths = sys.argv[1:]
parts = open(paths).readline().strip().split("/")
ids = {True: sorted({line.split("/")[3] for line in open(paths)})}
# Of the same form: a processor reads digits that it foresees faster.
ids[False] = [known[:-1] + ("e" if known[-1] == "f" else "f") for known in ids[True]]
assert not set(ids[True]) & set(ids[False])
host, port = address.rsplit(":", 1)
connection = http.client.HTTPConnection(host, int(port))
headers = {"Authorization": f"Bearer {token}"}

def ask(facility):
    target = "/".join(parts[:3] + [facility] + parts[4:])
    began = time.perf_counter_ns()
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter_ns() - began
    assert answer.status == 403, answer.status
    return took / 1000

times = {True: [], False: []}
for nth in range(200):
    ask(ids[nth % 2 == 0][nth % len(ids[True])])
for round in range(1000):
    for exists in ([True, False] if round % 2 else [False, True]):
        times[exists].append(ask(ids[exists][round % len(ids[exists])]))
ranked = sorted((took, exists) for exists in times for took in times[exists])
ranks = sum(rank for rank, (_, exists) in enumerate(ranked, 1) if exists)
n = len(times[True])
z = (ranks - n * (2 * n + 1) / 2) / math.sqrt(n * n * (2 * n + 1) / 12)
median = {exists: sorted(of)[n // 2] for exists, of in times.items()}
print(f"z={abs(z):.2f} exists={median[True]:.1f} unknown={median[False]:.1f}")
PYTHON
    local line
    line=$(<"$folder/refusals")
    row "403 for a facility of others / for none, rank sum" "|z| <= 3" "$(value_of "$line" z)" "medians $(value_of "$line" exists) us, $(value_of "$line" unknown) us" "$(value_of "$line" z) <= 3"
}
