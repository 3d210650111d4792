#!/usr/bin/env bash
# The device side's tests under real Python 3.7 and 3.9, on a wheel of this tree, numpy and tflite-runtime alone.
#
# A Python that is not here is skipped with the reason; with REQUIRE_DEVICE_PYTHONS=1 that fails.
# PYTEST_FLAGS are handed on; "--require=host" is not, since nothing of the host runs there.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() { # VERSION -> path of a working interpreter, or nothing
  local candidate
  for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      command -v "$candidate"
      return
    fi
  done
}

wheel_of_this_tree() { # FOLDER -> path of the wheel built there
  local builder=.venv/bin/python
  [ -x "$builder" ] || builder=python3
  "$builder" -m pip wheel --quiet --no-deps --wheel-dir "$1" .
  echo "$1"/edgekit_coral-*.whl
}

flags=${PYTEST_FLAGS:-}
flags=${flags//--require=host/}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
wheel=""

for version in 3.7 3.9; do
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    echo "Python $version: skipped, it is neither on PATH nor under ~/.pyenv/versions"
    [ -z "${REQUIRE_DEVICE_PYTHONS:-}" ] || exit 1
    continue
  fi
  short=py${version/./}
  venv=.venv-$short
  constraints=constraints-$short.txt
  if [ ! -e "$venv/.stamp" ] || [ "$constraints" -nt "$venv/.stamp" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --constraint "$constraints" pip
    "$venv/bin/python" -m pip install --quiet --constraint "$constraints" pytest pytest-xdist hypothesis
    touch "$venv/.stamp"
  fi
  [ -n "$wheel" ] || wheel=$(wheel_of_this_tree "$built")
  "$venv/bin/python" -m pip install --quiet --constraint "$constraints" "$wheel" tflite-runtime
  "$venv/bin/python" -m pip install --quiet --no-deps --force-reinstall "$wheel"
  echo "Python $version: $("$venv/bin/python" --version)"
  # shellcheck disable=SC2086 # flags are words
  "$venv/bin/pytest" -n auto --dist worksteal -m "not host" --ignore=tests/host --ignore=tests/fleet --ignore=tests/report $flags
done
