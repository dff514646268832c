#!/usr/bin/env bash
# Runs `cargo build` for wasm32-unknown-unknown with the arguments it is given, and prints the folder
# below which the profile's folder with the built files lies.
#
# The usual way to that target is `rustup target add`; where that does not work (no rustup, no
# network), Debian's packages rustc-web and rust-web-src serve: they carry the source of the standard
# library, which is built along.
#
#   NARTHEX_WASM_TOOLCHAIN=rustup|debian   takes that way and no other
#   NARTHEX_WASM_INSTALL=yes               installs Debian's packages where they are missing
#   CARGO_TARGET_DIR                       honoured; default `target`
set -euo pipefail

TARGET=wasm32-unknown-unknown
TARGET_DIRECTORY=${CARGO_TARGET_DIR:-target}

say() { echo "plugins: $*" >&2; }

fail() {
    say "$*"
    exit 1
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
    [[ ${NARTHEX_WASM_INSTALL:-} == yes ]] || return 1
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
    CARGO_TARGET_DIR="$TARGET_DIRECTORY" cargo build --target "$TARGET" "$@"
    echo "$TARGET_DIRECTORY/$TARGET"
}

# The library is built in a folder of its own: cargo would else build everything anew whenever the
# compiler changes.
build_with_debian() {
    local linker directory=$TARGET_DIRECTORY/debian-wasm
    linker=$(wasm_linker) || fail "no linker for WebAssembly: install Debian's package lld"
    env -u RUSTUP_TOOLCHAIN \
        RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_DIR="$directory" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker" \
        cargo build --target "$TARGET" -Zbuild-std=std,panic_abort "$@"
    echo "$directory/$TARGET"
}

# Says in one line how it is built.
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
            "$TARGET\` works here, nor are Debian's packages there (\`apt-get install rustc-web" \
            "rust-web-src\`)"
        echo debian
        ;;
    *) fail "NARTHEX_WASM_TOOLCHAIN is neither rustup nor debian" ;;
    esac
}

toolchain=$(choose)
say "building for $TARGET ($toolchain's compiler)"
"build_with_$toolchain" "$@"
