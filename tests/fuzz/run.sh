#!/usr/bin/env bash
# Builds the fuzz targets with coverage instrumentation, which the stable compiler can do, and runs
# each one: run.sh [seconds per target] [target]... What is found is left in tests/fuzz/artifacts/;
# the corpus that grows is kept outside the repository, begun with the small good files that examples/seeds.rs makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
SECONDS_EACH=${1:-60}
shift || true
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}/fuzz
HOST=$(rustc -vV | sed -n 's/^host: //p')
cargo run --quiet --release --example seeds
# Levels and tables as libFuzzer wants them. --target keeps the flags away from build scripts.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
cargo build --release --bins --target "$HOST"
if [[ $# -eq 0 ]]; then set -- $(cd targets && ls | sed 's/\.rs$//'); fi
mkdir -p artifacts
for target in "$@"; do
    echo "== $target, $SECONDS_EACH s"
    corpus=$CARGO_TARGET_DIR/corpus/$target
    mkdir -p "$corpus" "corpus/$target"
    "$CARGO_TARGET_DIR/$HOST/release/$target" "$corpus" "corpus/$target" \
        -max_total_time="$SECONDS_EACH" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target-" 2>&1 | grep -E 'ERROR|SUMMARY|panicked|stat::number_of_executed|stat::peak_rss|cov:' | tail -8
done
