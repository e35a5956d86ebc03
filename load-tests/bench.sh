#!/usr/bin/env bash
# Measures the figures that the project promises. Prints one table with each figure and the figure
# that it is compared with, from the same run.
#
#   load-tests/bench.sh [SECTION]...      these sections, or all; load-tests/README.md lists them
#   BENCH_QUICK=1 load-tests/bench.sh     fewer and shorter rounds, to see that the benchmark works
#
# The script uses free ports, temporary folders and a Postgres of its own, and removes all of them at
# its end, also when it fails. On a busy or small machine only the ratios mean something, and not the
# absolute figures. load-tests/README.md says how each figure is measured.
set -euo pipefail
cd "$(dirname "$0")/.."

sections=(reads tails flood cold lists day_of_all refresh access rebuild mapped lookup events triggers stampede redis replicas outage start memory live)
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
