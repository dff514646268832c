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
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
FILE=$(realpath -m "${1:-$TARGET/plugins/examples/python-exporter.wasm}")
VENV=$TARGET/componentize-py
TOOL=${COMPONENTIZE_PY:-$VENV/bin/componentize-py}

if [[ ! -x $TOOL ]]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q componentize-py==0.25.1
fi
mkdir -p "$(dirname "$FILE")"
cd "$HERE"
PYTHONDONTWRITEBYTECODE=1 "$TOOL" -d "$ROOT/plugin-sdk/wit" -w exporter componentize app -o "$FILE.new"
mv "$FILE.new" "$FILE"
echo "$FILE"
