# shellcheck shell=bash
# The scripts that use several Pythons source this file.

find_python() { # VERSION -> path of a working interpreter, or nothing
  local candidate
  for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      command -v "$candidate"
      return
    fi
  done
}
