#!/usr/bin/env bash
# Tests the judge on the real service: breaks one rule of the service at a time, in a copy of its
# source, and asserts that a scenario of the fleet fails with the complaint that belongs to the rule.
# The service has no code for this. Each mutant needs a build of some minutes, so this script is not
# part of `make test`. The simulation (tests/simulation/mutants.rs) breaks many more rules, in seconds.
#
#   tests/fleet/mutants.sh [NAME]...      all of them, or only these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/install-deps.sh
tree=$PWD/target/mutants/tree log=$PWD/target/mutants/log
mkdir -p "$tree"
wanted=" $* " tried=0 survived=()

# breaks FILE FROM TO: replaces the text FROM by TO in the copy of FILE
breaks() {
    local file=$1 from=$2 to=$3 text
    text=$(cat "$tree/$file")
    if [[ "$text" != *"$from"* ]]; then
        echo "$name: $file does not hold \`$from\` any more: break the rule where it stands now" >&2
        exit 2
    fi
    printf '%s\n' "${text/"$from"/"$to"}" >"$tree/$file"
}

# mutant NAME SCENARIO COMPLAINT FILE FROM TO [FILE FROM TO]...: breaks a rule in all its places, and
# runs the scenario
mutant() {
    local name=$1 scenario=$2 complaint=$3 found
    shift 3
    if [ "$wanted" != "  " ] && [[ "$wanted" != *" $name "* ]]; then return; fi
    tried=$((tried + 1))
    rm -rf "$tree"/{src,sql,migrations}
    cp -r src sql migrations Cargo.toml Cargo.lock "$tree"
    ln -sfn "$PWD/tests" "$tree/tests"
    while [ $# -gt 0 ]; do breaks "$1" "$2" "$3" && shift 3; done
    CARGO_TARGET_DIR=$PWD/target/mutants/target cargo build --quiet --locked --manifest-path "$tree/Cargo.toml" --bin facility-summary
    if FACILITY_SUMMARY_BINARY=$PWD/target/mutants/target/debug/facility-summary \
        cargo test --quiet --locked --test fleet "$scenario" >"$log" 2>&1 || ! found=$(grep -m 1 "^$complaint: " "$log"); then
        survived+=("$name")
        cp "$log" "$log.$name"
        echo "$name: no complaint was found; the log is $log.$name"
    else
        echo "$name: found by $scenario: ${found:0:220}…"
    fi
}

mutant min-version postgres_stops WentBack \
    src/service/reads/mod.rs '        (requested.accepts(age_ms)
            && requested.takes_version(entry.version)
            && self.counts_as_fresh' '        (requested.accepts(age_ms)
            && self.counts_as_fresh'

# The comparison in memory, for fills and for messages. A scenario that reorders two versions by
# milliseconds only, such as a slow link to Redis, does not find it: the judge knows the age of an
# answer to the second, and has to accept what is shown then.
mutant version-compare an_old_message_is_appended_again Stale \
    src/cache/memory.rs '        if known > version || recent' '        if recent' \
    src/cache/memory.rs '            || recent.version(&key) > version
' '' \
    src/cache/memory.rs '(held.version > version
                || (held.version == version' '((held.version == version'

mutant publish-before-commit commits_are_refused Unwritten \
    src/service/refresh/mod.rs '        tx.commit().await?;
        self.outage.over();
        self.publish(&token, &refreshed);' '        self.publish(&token, &refreshed);
        tx.commit().await?;
        self.outage.over();' \
    src/service/ingest/group.rs '        tx.commit().await?;
        self.after_commit(&token, &refreshed).await;' '        self.after_commit(&token, &refreshed).await;
        tx.commit().await?;'

# The version of a message is noted, but its row is not kept. If the version were not noted either,
# the outbox relay would publish the row again before it announces a watermark.
mutant skip-messages replicas_whose_clocks_are_ten_minutes_off Stale \
    src/cache/memory.rs '        self.keep(recent, since, row, row.as_of_ms);' ''

mutant announce-before-publication redis_hangs Stale \
    src/jobs/drain/outbox_relay.rs '        if seen.outbox.is_empty() && seen.changed_facilities.is_empty() {' '        if seen.at_ms > 0 {'

if [ "$tried" = 0 ]; then
    echo "no mutant is named$wanted" >&2
    exit 2
fi
if [ ${#survived[@]} -gt 0 ]; then
    echo "${#survived[@]} survived: ${survived[*]}" >&2
    exit 1
fi
