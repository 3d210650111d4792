#!/usr/bin/env bash
# Run the device side's tests under real Python 3.7 and 3.9, with only a wheel of this tree, numpy and tflite-runtime.
#
# Both run at the same time, and print their output when they are done.
# A missing Python is skipped with the reason; with REQUIRE_DEVICE_PYTHONS=1 that fails.
# PYTEST_FLAGS are passed on, except "--require=host", because the host's tests do not run there.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=/dev/null
. scripts/find-python.sh

wheel_of_this_tree() { # FOLDER -> path of the wheel built there
  local builder=.venv/bin/python
  [ -x "$builder" ] || builder=python3
  "$builder" -m pip wheel --quiet --no-deps --wheel-dir "$1" .
  echo "$1"/edgekit_coral-*.whl
}

flags=${PYTEST_FLAGS:-}
flags=${flags//--require=host/}
unset PYTHONDONTWRITEBYTECODE # hundreds of tests start a Python of their own
cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
each=$(( cores > 1 ? cores / 2 : 1 )) # test processes per Python, because both run at the same time
built=$(mktemp -d)
trap 'rm -rf "$built"; kill $(jobs -p) 2>/dev/null || true' EXIT
wheel=""

test_with() { # VERSION PYTHON -> its tests' output and status
  local version=$1 python=$2 short=py${1/./} venv constraints
  venv=.venv-$short
  constraints=constraints-$short.txt
  if [ -e "$venv/.stamp" ] && [ ! "$constraints" -nt "$venv/.stamp" ] && [ ! pyproject.toml -nt "$venv/.stamp" ]; then
    "$venv/bin/python" -m pip install --quiet --no-deps --force-reinstall "$wheel"
  else
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --constraint "$constraints" pip
    # Python compiles what the tests import; pip would compile all of numpy.
    "$venv/bin/python" -m pip install --quiet --no-compile --constraint "$constraints" \
      "$wheel" tflite-runtime pytest pytest-xdist hypothesis
    touch "$venv/.stamp"
  fi
  echo "Python $version: $("$venv/bin/python" --version)"
  # shellcheck disable=SC2086 # flags are words
  "$venv/bin/pytest" -o cache_dir=".pytest_cache/$short" -n "$each" --dist worksteal -m "not host" --ignore=tests/host --ignore=tests/fleet --ignore=tests/report --ignore=tests/serve $flags
}

running=()
for version in 3.7 3.9; do
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    echo "Python $version: skipped, it is neither on PATH nor under ~/.pyenv/versions"
    [ -z "${REQUIRE_DEVICE_PYTHONS:-}" ] || exit 1
    continue
  fi
  [ -n "$wheel" ] || wheel=$(wheel_of_this_tree "$built")
  (set -e; test_with "$version" "$python") >"$built/$version.log" 2>&1 &
  running+=("$version:$!")
done

status=0
for each_run in ${running[@]+"${running[@]}"}; do
  wait "${each_run#*:}" || status=1
  cat "$built/${each_run%%:*}.log"
done
exit "$status"
