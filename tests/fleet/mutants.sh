#!/usr/bin/env bash
# The judge judged on the real thing: breaks one rule of the service at a time, in a copy of its source, and demands that a scenario of
# the fleet fails with the complaint that belongs to the rule. Nothing in the service knows of this. A build of minutes for each, and no
# part of `make test`; the simulation (tests/simulation/mutants.rs) breaks many more rules there, and in seconds.
#
#   tests/fleet/mutants.sh [NAME]...      all of them, or only these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/install-deps.sh
tree=$PWD/target/mutants/tree log=$PWD/target/mutants/log
mkdir -p "$tree"
wanted=" $* " tried=0 survived=()

# In the copy: breaks FILE 'what stands there' 'what shall'
breaks() {
    local file=$1 from=$2 to=$3 text
    text=$(cat "$tree/$file")
    if [[ "$text" != *"$from"* ]]; then
        echo "$name: $file does not hold \`$from\` any more: break the rule where it stands now" >&2
        exit 2
    fi
    printf '%s\n' "${text/"$from"/"$to"}" >"$tree/$file"
}

# mutant NAME SCENARIO COMPLAINT FILE FROM TO [FILE FROM TO]...: all the places where one rule stands
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
        echo "$name: survived, as $log.$name tells"
    else
        echo "$name: found by $scenario: ${found:0:220}…"
    fi
}

mutant min-version postgres_stops WentBack \
    src/service/reads.rs '(wish.takes(age_ms) && entry.version >= wish.min_version && ' '(wish.takes(age_ms) && '

# In memory, of fills and messages alike. Where two versions change their order by milliseconds only, as behind a slow way to Redis, it
# survives: what is shown then is as old as the judge, who knows an answer's age to the second, has to forgive.
mutant version-compare what_was_said_long_ago Stale \
    src/cache/memory.rs '        if known > version {
            return;
        }
' '' \
    src/cache/memory.rs ' || recent.version(&row.key()) > row.summary.version {' ' {' \
    src/cache/memory.rs '(held.version > version
                || (held.version == version' '((held.version == version'

mutant publish-before-commit commits_are_refused Unwritten \
    src/service/refresh.rs '        tx.commit().await?;
        self.publish(&vantage, &refreshed);' '        self.publish(&vantage, &refreshed);
        tx.commit().await?;' \
    src/service/ingest/group.rs '        tx.commit().await?;
        self.after_commit(&vantage, &refreshed);' '        self.after_commit(&vantage, &refreshed);
        tx.commit().await?;'

# Taken note of, and not taken in: one that nobody has noted would be published again, and no watermark announced before.
mutant skip-messages replicas_ten_minutes_off Stale \
    src/cache/memory.rs '        self.keep(recent, since, row, row.as_of_ms);' ''

mutant announce-before-publication redis_hangs Stale \
    src/jobs/drain/leftovers.rs '        if seen.outbox.is_empty() && seen.changed_facilities.is_empty() {' '        if seen.at_ms > 0 {'

if [ "$tried" = 0 ]; then
    echo "no mutant is named$wanted" >&2
    exit 2
fi
if [ ${#survived[@]} -gt 0 ]; then
    echo "${#survived[@]} survived: ${survived[*]}" >&2
    exit 1
fi
