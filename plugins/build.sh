#!/usr/bin/env bash
# Builds the plugins that come with Narthex, and puts each as <name>.wasm into the folder `plugins`
# of the target directory. A file is only replaced where its content has changed, as a running agent
# takes up every file that changes.
#
#   plugins/build.sh       all but those below
#   plugins/build.sh ec2   ec2: the first time it takes some minutes and 6 GB of memory. What it
#                          compiles is kept in the folder `ec2` of the target directory
#
# The plugins are built for wasm32-unknown-unknown. The usual way to that target is
# `rustup target add`; where that does not work (no rustup, no network), Debian's packages rustc-web
# and rust-web-src serve: they carry the source of the standard library, which is built along.
#
#   NARTHEX_WASM_TOOLCHAIN=rustup|debian   takes that way and no other
#   CARGO_TARGET_DIR                       honoured; default `target`
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=wasm32-unknown-unknown
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

# Whether the compiler that cargo would call has the target's standard library.
has_target() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) || return 1
    [[ -d $sysroot/lib/rustlib/$TARGET/lib ]]
}

rustup_target() {
    has_target && return 0
    command -v rustup >/dev/null || return 1
    say "adding the target $TARGET (rustup target add)"
    rustup target add "$TARGET" >&2 && has_target
}

# Compiler and library must be of one version, so both come from Debian's packages.
debian_source() {
    [[ -x /usr/bin/rustc ]] || return 1
    local source
    source=$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library
    [[ -e $source/Cargo.lock || -e $source/std/Cargo.toml ]]
}

debian_packages() {
    debian_source && return 0
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo)
    fi
    say "installing Debian's rustc-web and rust-web-src (apt-get)"
    "${as_root[@]}" apt-get update -q >&2 || say "apt-get update failed; trying with what is known"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends rustc-web rust-web-src >&2 && debian_source
}

# A linker for WebAssembly: rustup's toolchains carry one, Debian has it in packages of its own.
wasm_linker() {
    local candidate sysroot host
    if sysroot=$(rustc --print sysroot 2>/dev/null); then
        host=$(rustc -vV | sed -n 's/^host: //p')
        candidate=$sysroot/lib/rustlib/$host/bin/rust-lld
        [[ -x $candidate ]] && echo "$candidate" && return 0
    fi
    for candidate in /usr/bin/wasm-ld /usr/bin/wasm-ld-*; do
        [[ -x $candidate ]] && echo "$candidate" && return 0
    done
    return 1
}

build_with_rustup() {
    CARGO_TARGET_DIR="$cache" cargo build --profile plugin --target "$TARGET" "${what[@]}" &&
        echo "$cache/$TARGET/plugin"
}

# The library is built in a folder of its own: cargo would else build everything anew whenever the
# compiler changes.
build_with_debian() {
    local linker directory=$cache/debian-wasm
    linker=$(wasm_linker) || fail "no linker for WebAssembly: install Debian's package lld"
    env -u RUSTUP_TOOLCHAIN \
        RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_DIR="$directory" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker" \
        cargo build --profile plugin --target "$TARGET" \
        -Zbuild-std=std,panic_abort "${what[@]}" &&
        echo "$directory/$TARGET/plugin"
}

# Says in one line how the plugins are built.
choose() {
    case ${NARTHEX_WASM_TOOLCHAIN:-} in
    rustup)
        rustup_target || fail "rustup cannot add the target $TARGET"
        echo rustup
        ;;
    debian)
        debian_packages || fail "Debian's packages rustc-web and rust-web-src are not to be had"
        echo debian
        ;;
    "")
        if rustup_target; then
            echo rustup
            return
        fi
        say "the target $TARGET is not to be had from rustup; taking Debian's compiler"
        debian_packages || fail "no way to the target $TARGET: neither \`rustup target add" \
            "$TARGET\` nor \`apt-get install rustc-web rust-web-src\` works here"
        echo debian
        ;;
    *) fail "NARTHEX_WASM_TOOLCHAIN is neither rustup nor debian" ;;
    esac
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

toolchain=$(choose)
say "building for $TARGET ($toolchain's compiler)"
built=$("build_with_$toolchain")
mkdir -p "$OUT"
for plugin in $names; do
    put "$built/narthex_plugin_${plugin//-/_}.wasm" "$OUT/$plugin.wasm"
done
