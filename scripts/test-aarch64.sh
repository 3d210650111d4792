#!/usr/bin/env bash
# Test the device side on aarch64 without a board: edgekit-coral-device (the wheel), numpy and tflite-runtime in a
# Debian arm64 tree under qemu. With the reference kernels, integer models must give the same outputs there as here,
# bit for bit.
#
#   scripts/test-aarch64.sh [MODEL.tflite ...]     also these models, besides a generated one
#
# Needs root, debootstrap and qemu-user-static; if they are missing, it is skipped with the reason, and with
# REQUIRE_AARCH64=1 that fails. The tree is kept in EDGEKIT_AARCH64 (default: ~/.cache/edgekit-aarch64) for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm # its Python is 3.11, the last one that tflite-runtime has wheels for
python=3.11
runtime=tflite-runtime==2.14.0
tree=$(realpath -m "${EDGEKIT_AARCH64:-${XDG_CACHE_HOME:-$HOME/.cache}/edgekit-aarch64}")
host=.venv/bin/python
[ -x "$host" ] || host=python3

skip() { # REASON
  echo "aarch64: skipped, $1"
  [ -z "${REQUIRE_AARCH64:-}" ] || exit 1
  exit 0
}
[ "$(id -u)" = 0 ] || skip "it needs root for chroot"
for program in debootstrap qemu-aarch64-static dpkg; do
  command -v "$program" >/dev/null || skip "$program is not installed (apt-get install debootstrap qemu-user-static)"
done
"$host" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 8))' || skip "$host is too old to fetch wheels for $python"

if [ ! -e "$tree/.stamp" ]; then
  rm -rf "$tree"
  log=$(mktemp)
  echo "aarch64: a Debian $suite tree in $tree"
  # Only the first stage: the second one runs arm64 programs, which needs binfmt in the kernel.
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 "$suite" "$tree" >"$log" 2>&1 ||
    { tail -5 "$log" >&2; exit 5; }
  for package in "$tree"/var/cache/apt/archives/*.deb; do
    dpkg -x "$package" "$tree"
  done
  rm -rf "$log" "$tree"/var/cache/apt/archives/*.deb
  cp "$(command -v qemu-aarch64-static)" "$tree/usr/bin/"
  touch "$tree/.stamp"
fi

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
"$host" -m pip wheel -qq --no-deps --wheel-dir "$built" ./device
size=$(stat -c %s "$built"/edgekit_coral_device-*.whl)
# Data or host code that gets in by mistake should be noticed. The wheel is 2 % of the 20 MB that pip fetches for a Dev
# Board (numpy 13, Pillow 3, the runtime 2), so what its commands import stays in it, and so do docstrings (a fifth).
# 640,000 bytes: rules, the texts of codes that explain prints on boards too, and cameras and streams for run.
[ "$size" -lt 640000 ] || { echo "aarch64: the wheel for boards has $size bytes, over 640,000" >&2; exit 1; }
echo "aarch64: edgekit-coral-device, $size bytes"
rm -rf "$tree/opt/site" "$tree/opt/models"
mkdir -p "$tree/opt/site" "$tree/opt/models"
"$host" -m pip install -qq --no-warn-conflicts --target "$tree/opt/site" --only-binary=:all: --python-version "$python" \
  --implementation cp --platform manylinux_2_34_aarch64 --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64 "$built"/edgekit_coral_device-*.whl "$runtime" 'numpy<2'

"$host" scripts/reference_outputs.py --write "$tree/opt/models/small.tflite"
for model in "$@"; do
  cp "$model" "$tree/opt/models/"
done
cp scripts/reference_outputs.py "$tree/opt/"
run_there() { # ARGUMENT... of Python
  chroot "$tree" /usr/bin/qemu-aarch64-static -E PYTHONPATH=/opt/site -E PYTHONDONTWRITEBYTECODE=1 \
    "/usr/bin/python$python" "$@"
}

run_there -c 'import platform; print("aarch64:", platform.machine(), "Python", platform.python_version())'
run_there -m edgekit.doctor.child inference | grep -q '"ok": true' || { echo "aarch64: no inference" >&2; exit 1; }
for model in "$tree"/opt/models/*.tflite; do
  name=$(basename "$model")
  here=$("$host" scripts/reference_outputs.py "$model" 2>/dev/null)
  there=$(run_there /opt/reference_outputs.py "/opt/models/$name")
  if [ -z "$here" ] || [ "$here" != "$there" ]; then
    printf 'aarch64: %s gives other outputs\n  here:  %s\n  there: %s\n' "$name" "$here" "$there" >&2
    exit 1
  fi
  echo "aarch64: $name gives the same outputs as here: ${here%% *}"
done
