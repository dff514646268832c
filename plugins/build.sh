#!/usr/bin/env bash
# Builds the plugins that come with Narthex, and puts each as <name>.wasm into the folder `plugins`
# of the target directory. A file is only replaced where its content has changed, as a running agent
# takes up every file that changes.
#
#   plugins/build.sh       all but those below
#   plugins/build.sh ec2   ec2: the first time it takes some minutes and 6 GB of memory. What it
#                          compiles is kept in the folder `ec2` of the target directory
#
# plugin-sdk/cargo-wasm.sh builds, and says what of the environment it honours. Where rustup does not
# give the target, Debian's packages are installed; NARTHEX_WASM_INSTALL=no leaves that.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET_DIRECTORY=${CARGO_TARGET_DIR:-$PWD/target}
OUT=$TARGET_DIRECTORY/plugins

say() { echo "plugins: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Every crate below plugins/ is a plugin. Those that are a workspace of their own are built by name.
plugins() {
    local manifest
    for manifest in plugins/*/Cargo.toml; do
        grep -q '^\[workspace\]' "$manifest" || basename "$(dirname "$manifest")"
    done
}

packages() {
    local plugin
    for plugin in $(plugins); do
        echo "--package narthex-plugin-$plugin"
    done
}

# By a rename, so that nobody ever sees half a file.
put() {
    local from=$1 to=$2
    cmp -s "$from" "$to" && return 0
    cp "$from" "$to.new"
    mv "$to.new" "$to"
    say "$(basename "$to"): $(($(stat -c %s "$to" 2>/dev/null || stat -f %z "$to") / 1024)) KiB"
}

case "$*" in
"")
    names=$(plugins)
    cache=$TARGET_DIRECTORY
    # shellcheck disable=SC2207 # one word for each argument
    what=($(packages))
    ;;
ec2)
    names=ec2
    cache=$TARGET_DIRECTORY/ec2
    what=(--manifest-path plugins/ec2/Cargo.toml -Zprofile-hint-mostly-unused)
    # Of aws-sdk-ec2 hardly anything is used: this lets the compiler leave out the rest, which takes
    # a fifth of the time.
    export RUSTC_BOOTSTRAP=1
    ;;
*) fail "there is nothing to be built by name but ec2" ;;
esac

export NARTHEX_WASM_INSTALL=${NARTHEX_WASM_INSTALL:-yes}
built=$(CARGO_TARGET_DIR=$cache plugin-sdk/cargo-wasm.sh --profile plugin "${what[@]}")/plugin
mkdir -p "$OUT"
for plugin in $names; do
    put "$built/narthex_plugin_${plugin//-/_}.wasm" "$OUT/$plugin.wasm"
done
