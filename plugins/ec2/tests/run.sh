#!/usr/bin/env bash
# Tests the plugin: by itself, and in a real Narthex against moto (PyPI), which plays Amazon; then its
# lints. Where moto is not to be had, it is tested by itself alone, and a line says so.
#
#   EC2_TEST_NARTHEX   the Narthex to test with, rather than building one
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
MOTO=$TARGET/ec2/moto/bin/moto_server

say() { echo "test-ec2: $*" >&2; }

get_moto() {
    [[ -x $MOTO ]] && return 0
    command -v python3 >/dev/null || return 1
    say "getting moto (pip install)"
    python3 -m venv "$TARGET/ec2/moto" >&2 &&
        "$TARGET/ec2/moto/bin/pip" install --quiet 'moto[ec2,iam,server]>=5,<6' >&2 && [[ -x $MOTO ]]
}

if get_moto; then
    plugins/build.sh ec2
    if [[ -z ${EC2_TEST_NARTHEX:-} ]]; then
        CARGO_TARGET_DIR=$TARGET cargo build -p narthex
        export EC2_TEST_NARTHEX=$TARGET/debug/narthex
    fi
    export EC2_TEST_MOTO=$MOTO EC2_TEST_PLUGIN=$TARGET/plugins/ec2.wasm
else
    say "skipped: no moto here, so nothing is tested over real connections"
fi
# For the hint see plugins/build.sh.
export CARGO_TARGET_DIR=$TARGET/ec2 RUSTC_BOOTSTRAP=1
what=(--manifest-path plugins/ec2/Cargo.toml -Zprofile-hint-mostly-unused)
cargo test "${what[@]}"
cargo clippy "${what[@]}" --all-targets -- -D warnings
