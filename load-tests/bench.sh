#!/usr/bin/env bash
# Measures the figures that the project promises, each beside what it is compared to in the same run, and prints them in one table.
#
#   load-tests/bench.sh [SECTION]...      all of them without an argument: see below
#   BENCH_QUICK=1 load-tests/bench.sh     short rounds and fewer of them: to see that it works, not to quote
#
# Everything is private: free ports, temporary folders, a Postgres of its own; all of it goes when the script ends, however it ends.
# Absolute figures of a busy or small machine mean little; the ratios are what counts. load-tests/README.md says how each is made.
set -euo pipefail
cd "$(dirname "$0")/.."

sections=(reads refresh rebuild lookup events stampede redis replicas outage start memory)
for section in "$@"; do
    [[ " ${sections[*]} " == *" $section "* ]] || { echo "bench.sh: $section is not a section; there are: ${sections[*]}" >&2; exit 2; }
done
if [ $# -gt 0 ]; then sections=("$@"); fi
quick=${BENCH_QUICK:-}

source load-tests/bench/common.sh
for section in "${sections[@]}"; do source "load-tests/bench/$section.sh"; done

require curl python3:python3-minimal
for section in "${sections[@]}"; do "need_$section"; done
require_done
echo "building" >&2
cargo build --release --locked --quiet
CARGO_TARGET_DIR=target/load-tests cargo build --release --locked --quiet --manifest-path load-tests/Cargo.toml

for section in "${sections[@]}"; do
    echo >&2
    echo "== $section" >&2
    "measure_$section"
done
print_table
