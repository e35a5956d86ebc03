#!/usr/bin/env bash
# The judge judged on the real thing: breaks one rule of the service at a time, in a copy of its source, and demands that a scenario of
# the fleet fails with the complaint that belongs to the rule. Nothing in the service knows of this.
#
#   tests/fleet/mutants.sh [NAME]...      all of them, or only these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tree=$PWD/target/mutants/tree log=$PWD/target/mutants/log
mkdir -p "$tree"
wanted=" $* " survived=()

# mutant NAME FILE 'what stands there' 'what shall' SCENARIO COMPLAINT
mutant() {
    local name=$1 file=$2 from=$3 to=$4 scenario=$5 complaint=$6 text
    if [ "$wanted" != "  " ] && [[ "$wanted" != *" $name "* ]]; then return; fi
    rm -rf "$tree"/{src,sql,migrations}
    cp -r src sql migrations Cargo.toml Cargo.lock "$tree"
    ln -sfn "$PWD/tests" "$tree/tests"
    text=$(cat "$file")
    if [[ "$text" != *"$from"* ]]; then
        echo "$name: $file does not hold \`$from\` any more: break the rule where it stands now" >&2
        exit 2
    fi
    printf '%s\n' "${text/"$from"/"$to"}" >"$tree/$file"
    CARGO_TARGET_DIR=$PWD/target/mutants/target cargo build --quiet --locked --manifest-path "$tree/Cargo.toml" --bin facility-summary
    if FACILITY_SUMMARY_BINARY=$PWD/target/mutants/target/debug/facility-summary \
        cargo test --quiet --locked --test fleet "$scenario" >"$log" 2>&1 || ! grep -q "^$complaint: " "$log"; then
        survived+=("$name")
        echo "$name: survived, as $log tells"
    else
        echo "$name: found, $(grep -m 1 "^$complaint: " "$log" | cut -c 1-150)…"
    fi
}

mutant min-version src/service/reads.rs \
    '(wish.takes(age_ms) && entry.version >= wish.min_version && ' '(wish.takes(age_ms) && ' \
    postgres_stops WentBack

if [ ${#survived[@]} -gt 0 ]; then
    echo "${#survived[@]} survived: ${survived[*]}" >&2
    exit 1
fi
