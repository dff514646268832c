#!/usr/bin/env bash
# Builds the exporter with componentize-py, which is fetched from PyPI into the target directory where
# it is not there yet.
#
#   build.sh [FILE]     default: plugins/examples/python-exporter.wasm in the target directory
#   COMPONENTIZE_PY     a componentize-py to be taken instead
#   CARGO_TARGET_DIR    honoured; default `target`
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$HERE/../../..
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")
FILE=$(realpath -m "${1:-$TARGET/plugins/examples/python-exporter.wasm}")
VENV=$TARGET/componentize-py
TOOL=$(realpath -m "${COMPONENTIZE_PY:-$VENV/bin/componentize-py}")

if [[ ! -x $TOOL ]]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q componentize-py==0.25.1
fi
mkdir -p "$(dirname "$FILE")"
# It leaves compiled Python beside what it reads.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$HERE/app.py" "$work"
cd "$work"
"$TOOL" -d "$ROOT/plugin-sdk/wit" -w exporter componentize app -o "$FILE.new"
mv "$FILE.new" "$FILE"
echo "$FILE"
