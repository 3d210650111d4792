#!/usr/bin/env bash
# Install both wheels with pip, with every extra, and run a model after each, under all supported Pythons.
#
#   scripts/test-install.sh [VERSION ...]     by default 3.7, 3.9, 3.11 and 3.13
#
# Each wheel gets an empty virtual environment. Without a runtime `edgekit run` must fail and print the command that
# installs one; that command is run as it is printed. Then the extras are installed one by one. After each, `pip check`
# must succeed, numpy must be older than 2 below Python 3.10, and `edgekit run` must work. The extra "host" installs
# TensorFlow (over 1 GB); EXTRAS="report sign" tests only those. At the end both wheels are installed together, and
# `edgekit` must warn about it. A missing Python is skipped with the reason; with REQUIRE_PYTHONS=1 that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=/dev/null
. scripts/find-python.sh

fail() { # MESSAGE
  echo "install: $1" >&2
  exit 1
}

install() { # VENV WHAT WORD...
  local venv=$1 what=$2
  shift 2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >"$work/pip.txt" 2>&1 ||
    { tail -5 "$work/pip.txt" >&2; fail "$what: pip install $*"; }
}

extras_of() { # WHEEL -> its extras, one a line
  unzip -p "$1" '*/METADATA' | sed -n 's/^Provides-Extra: //p'
}

runs_model() { # VENV WHAT
  "$1/bin/edgekit" run "$work/small.tflite" "$work/image.png" >"$work/answer.txt" 2>"$work/log.txt" ||
    { cat "$work/log.txt" >&2; fail "$2: edgekit run failed"; }
  grep -q '^task ' "$work/answer.txt" || fail "$2: edgekit run gave no answer"
  [ ! -s "$work/log.txt" ] || ! grep -q 'installed in one place' "$work/log.txt" || fail "$2: it warns of two wheels"
  "$1/bin/python" -m pip check >"$work/check.txt" || { cat "$work/check.txt" >&2; fail "$2: pip check"; }
  "$1/bin/python" -c '
import sys, numpy
sys.exit(sys.version_info < (3, 10) and not numpy.__version__.startswith("1."))' ||
    fail "$2: numpy 2 below Python 3.10"
}

try_wheel() { # PYTHON WHEEL OTHER_WHEEL
  local venv=$work/venv name extra fix status=0
  name=$("$1" -c 'import sys; print("Python %d.%d" % sys.version_info[:2])')", $(basename "$2" | cut -d- -f1)"
  rm -rf "$venv"
  "$1" -m venv "$venv"
  install "$venv" "$name" "$2"
  "$venv/bin/edgekit" --help >"$work/answer.txt" || fail "$name: edgekit --help"
  "$venv/bin/edgekit" run "$work/small.tflite" "$work/image.png" >"$work/answer.txt" 2>"$work/log.txt" || status=$?
  [ "$status" = 5 ] || { cat "$work/log.txt" >&2; fail "$name: without a runtime the exit status is $status, not 5"; }
  fix=$(sed -n 's/^ *fix: //p' "$work/log.txt")
  echo "install: $name: runs the printed command: $fix"
  bash -c "$fix" >"$work/pip.txt" 2>&1 || { tail -5 "$work/pip.txt" >&2; fail "$name: the printed command failed"; }
  runs_model "$venv" "$name"
  for extra in ${EXTRAS:-$(extras_of "$2")}; do
    extras_of "$2" | grep -qx "$extra" || continue
    # By its name, like a distribution from an index: pip finds it installed.
    install "$venv" "$name" "$(basename "$2" | cut -d- -f1 | tr _ -)[$extra]"
    runs_model "$venv" "$name [$extra]"
    echo "install: $name [$extra]: run answers, $("$venv/bin/python" -c 'import numpy; print("numpy", numpy.__version__)')"
  done
  install "$venv" "$name" --no-deps "$3"
  "$venv/bin/edgekit" --version 2>&1 >"$work/answer.txt" | grep -q 'are installed in one place' ||
    fail "$name: no warning when both wheels are installed"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
builder=.venv/bin/python
[ -x "$builder" ] || builder=python3
"$builder" -m pip wheel -qq --no-deps --wheel-dir "$work/wheels" .
"$builder" -m pip wheel -qq --no-deps --wheel-dir "$work/wheels" ./device
"$builder" scripts/reference_outputs.py --write "$work/small.tflite"
"$builder" -c 'import sys; from PIL import Image; Image.effect_noise((64, 64), 50).convert("RGB").save(sys.argv[1])' "$work/image.png"
whole=$(echo "$work"/wheels/edgekit_coral-*.whl)
part=$(echo "$work"/wheels/edgekit_coral_device-*.whl)

for version in "${@:-3.7 3.9 3.11 3.13}"; do
  for each in $version; do
    python=$(find_python "$each")
    if [ -z "$python" ]; then
      echo "install: Python $each: skipped, it is neither on PATH nor under ~/.pyenv/versions"
      [ -z "${REQUIRE_PYTHONS:-}" ] || exit 1
      continue
    fi
    try_wheel "$python" "$part" "$whole"
    try_wheel "$python" "$whole" "$part"
  done
done
