#!/usr/bin/env bash
# Install both wheels with pip, with every extra, and run a model after each, under all supported Pythons.
#
#   scripts/test-install.sh [VERSION ...]     by default 3.7, 3.9, 3.11 and 3.13
#
# Each wheel gets an empty virtual environment. Without a runtime `edgekit run` must fail and print the command that
# installs one; that command is run as it is printed. Then the extras are installed one by one. After each, `pip check`
# must succeed, numpy must be older than 2 below Python 3.10, and `edgekit run` must work. The extra "host" comes last,
# because it brings most of the others, and installs TensorFlow (over 1 GB): a Keras network made there is converted and
# run. Below Python 3.10 it brings no TensorFlow, and `edgekit convert` must say which Python it needs. In the end both
# wheels are installed together, and `edgekit` must warn about it.
#
# EXTRAS="report sign" tests only these. A failure ends the tests of its wheel under its Python; a table in the end says
# what was tried. A missing Python is skipped with the reason; with REQUIRE_PYTHONS=1 that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=/dev/null
. scripts/find-python.sh

warning='are installed in the same place'

# What follows is called with a condition, where bash ignores `set -e`: every command says what its failure is.
fail() { # MESSAGE
  echo "install: $1" >&2
  exit 1
}

cell() { # COLUMN TEXT: for the table
  echo "$row|$1|$2" >>"$work/cells.txt"
}

install() { # VENV WHAT WORD...
  local venv=$1 what=$2
  shift 2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >"$work/pip.txt" 2>&1 ||
    { tail -5 "$work/pip.txt" >&2; fail "$what: pip install $*"; }
}

extras_of() { # WHEEL -> its extras, one a line, "host" last
  local extras
  extras=$(unzip -p "$1" '*/METADATA' | sed -n 's/^Provides-Extra: //p' | sort)
  grep -vx host <<<"$extras" || true
  grep -x host <<<"$extras" || true
}

runs() { # VENV WHAT MODEL
  "$1/bin/edgekit" run "$3" "$work/image.png" >"$work/answer.txt" 2>"$work/log.txt" ||
    { cat "$work/log.txt" >&2; fail "$2: edgekit run failed"; }
  grep -q '^task ' "$work/answer.txt" || fail "$2: edgekit run gave no answer"
  ! grep -q "$warning" "$work/log.txt" || fail "$2: it warns of two wheels"
}

fits_together() { # VENV WHAT
  "$1/bin/python" -m pip check >"$work/check.txt" || { cat "$work/check.txt" >&2; fail "$2: pip check"; }
  "$1/bin/python" -c '
import sys, numpy
sys.exit(sys.version_info < (3, 10) and not numpy.__version__.startswith("1."))' ||
    fail "$2: numpy 2 below Python 3.10"
}

converts() { # VENV WHAT
  local status=0
  if "$1/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 10))'; then
    "$1/bin/edgekit" convert x.keras --data random -o x.tflite >"$work/answer.txt" 2>"$work/log.txt" || status=$?
    [ "$status" = 5 ] || { cat "$work/log.txt" >&2; fail "$2: edgekit convert has exit status $status, not 5"; }
    grep -q 'needs Python 3.10' "$work/log.txt" || fail "$2: edgekit convert does not say which Python it needs"
    cell host "run"
    return
  fi
  rm -f "$work/net.keras" "$work/net.tflite"
  "$1/bin/python" - "$work/net.keras" >"$work/log.txt" 2>&1 <<'END' || { cat "$work/log.txt" >&2; fail "$2: keras"; }
import sys

import keras

layers = keras.layers
network = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
keras.Sequential([keras.Input((64, 64, 3)), *network]).save(sys.argv[1])
END
  "$1/bin/edgekit" convert "$work/net.keras" --data "$work/photos" -o "$work/net.tflite" >"$work/answer.txt" \
    2>"$work/log.txt" || { cat "$work/log.txt" >&2; fail "$2: edgekit convert failed"; }
  runs "$1" "$2, converted there" "$work/net.tflite"
  cell host "run, convert"
}

try_wheel() { # PYTHON WHEEL OTHER_WHEEL
  local venv=$work/venv distribution name extra fix status=0
  distribution=$(basename "$2" | cut -d- -f1 | tr _ -)
  name="Python $("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'), $distribution"
  rm -rf "$venv"
  "$1" -m venv "$venv" || fail "$name: no virtual environment"
  install "$venv" "$name" "$2"
  "$venv/bin/edgekit" --help >"$work/answer.txt" || fail "$name: edgekit --help"
  "$venv/bin/edgekit" run "$work/small.tflite" "$work/image.png" >"$work/answer.txt" 2>"$work/log.txt" || status=$?
  [ "$status" = 5 ] || { cat "$work/log.txt" >&2; fail "$name: without a runtime the exit status is $status, not 5"; }
  fix=$(sed -n 's/^ *fix: //p' "$work/log.txt")
  echo "install: $name: runs the printed command: $fix"
  bash -c "$fix" >"$work/pip.txt" 2>&1 || { tail -5 "$work/pip.txt" >&2; fail "$name: the printed command failed"; }
  runs "$venv" "$name" "$work/small.tflite"
  fits_together "$venv" "$name"
  cell printed "run"
  for extra in $(extras_of "$2"); do
    case " ${EXTRAS:-$extra} " in *" $extra "*) ;; *) continue ;; esac
    # By its name, like a distribution from an index: pip finds it installed.
    install "$venv" "$name" "${distribution}[$extra]"
    runs "$venv" "$name [$extra]" "$work/small.tflite"
    fits_together "$venv" "$name [$extra]"
    if [ "$extra" = host ]; then converts "$venv" "$name [host]"; else cell "$extra" "run"; fi
    echo "install: $name [$extra]: run answers, $("$venv/bin/python" -c 'import numpy; print("numpy", numpy.__version__)')"
  done
  install "$venv" "$name" --no-deps "$3"
  "$venv/bin/edgekit" --version >"$work/answer.txt" 2>"$work/log.txt" || fail "$name: edgekit --version"
  grep -q "$warning" "$work/log.txt" ||
    fail "$name: no warning when both wheels are installed"
  cell both "warns"
}

table() {
  local columns column row line
  columns="printed $({ extras_of "$part"; extras_of "$whole"; } | sort -u | grep -vx host | tr '\n' ' ')host both"
  line=$(printf '%-27s' "")
  for column in $columns; do
    line+=$(printf '%-14s' "$column")
  done
  echo "$line"
  while read -r row; do
    line=$(printf '%-27s' "$row")
    for column in $columns; do
      line+=$(printf '%-14s' "$(sed -n "s/^$row|$column|//p" "$work/cells.txt")")
    done
    echo "$line"
  done <"$work/rows.txt"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/cells.txt" "$work/rows.txt"
builder=.venv/bin/python
[ -x "$builder" ] || builder=python3
"$builder" -m pip wheel -qq --no-deps --wheel-dir "$work/wheels" .
"$builder" -m pip wheel -qq --no-deps --wheel-dir "$work/wheels" ./device
"$builder" scripts/reference_outputs.py --write "$work/small.tflite"
mkdir "$work/photos"
"$builder" - "$work" <<'END'
import sys
from pathlib import Path

from PIL import Image

folder = Path(sys.argv[1])
for name in ("image.png", *(f"photos/{number}.png" for number in range(20))):
    Image.effect_noise((64, 64), 50).convert("RGB").save(folder / name)
END
whole=$(echo "$work"/wheels/edgekit_coral-*.whl)
part=$(echo "$work"/wheels/edgekit_coral_device-*.whl)

status=0
[ $# -gt 0 ] || set -- 3.7 3.9 3.11 3.13
for version in "$@"; do
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    echo "install: Python $version: skipped, it is neither on PATH nor under ~/.pyenv/versions"
    echo "$version: no such Python" >>"$work/rows.txt"
    [ -z "${REQUIRE_PYTHONS:-}" ] || status=1
    continue
  fi
  for pair in "$part $whole" "$whole $part"; do
    row="$version $(basename "${pair%% *}" | cut -d- -f1 | tr _ -)"
    echo "$row" >>"$work/rows.txt"
    # shellcheck disable=SC2086 # two paths
    (try_wheel "$python" $pair) || { status=1; cell both "FAILED"; }
  done
done
table
exit "$status"
