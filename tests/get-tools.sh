#!/usr/bin/env bash
# Gets what Narthex stands in for (Prometheus, Alertmanager, their tools, node_exporter) from Debian's packages,
# for the tests and benchmarks that run them beside Narthex, into the folder that it prints. Nothing
# is installed. Where they cannot be had, it says so on standard error, and those tests are skipped.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
FOLDER=${CARGO_TARGET_DIR:-$PWD/target}/test-tools

PROGRAMS=(prometheus promtool prometheus-alertmanager amtool prometheus-node-exporter)

is_complete() {
    local program
    for program in "${PROGRAMS[@]}"; do
        [[ -x $FOLDER/$program ]] || return 1
    done
}

if ! is_complete; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    download() {
        (cd "$work" && apt-get download -q prometheus prometheus-alertmanager prometheus-node-exporter) >&2
    }
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "test tools: no apt-get here; tests with Prometheus's tools are skipped" >&2
    elif download || { apt-get update -q >&2 && download; }; then
        for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
        mkdir -p "$FOLDER"
        for program in "${PROGRAMS[@]}"; do cp "$work/root/usr/bin/$program" "$FOLDER/"; done
    else
        echo "test tools: not to be had; tests with Prometheus's tools are skipped" >&2
    fi
fi
echo "$FOLDER"
