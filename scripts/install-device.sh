#!/usr/bin/env bash
# Set up a Debian, Ubuntu, Raspberry Pi OS or Mendel machine for a Coral Edge TPU.
#
#   scripts/install-device.sh [--yes] [--dry-run] [--uninstall] [--runtime std|max|none] [--pcie]
#                             [--venv FOLDER] [--edgekit WHAT] [--user NAME] [--key-sha256 HEX]
#
# It shows what it will do and asks once; --yes does not ask, --dry-run only shows. Anything that is
# already there is not changed, so that a second run does nothing. --uninstall undoes only its own
# changes, which are listed in /var/lib/edgekit/installed.
#
#   --runtime   Google's libedgetpu: std (default), max (hotter, 500 MHz), none (already installed)
#   --pcie      also install the driver for M.2 and Mini PCIe cards (gasket-dkms; kernels before 6.4)
#   --venv      where to install edgekit (default: /opt/edgekit); "none" does not install it
#   --edgekit   what pip installs there: a wheel, or a folder (default: the one of this script)
#   --user      the user who may use the device (default: the one who calls this script)
#   --key-sha256  the expected SHA-256 of the key that signs Google's packages; another is refused
#
# Google's key is fetched over https and is valid only for Google's source (signed-by); apt checks
# every package with it. Anything else than an OpenPGP key, such as a proxy's page, is refused.
#
# EDGEKIT_INSTALL_ROOT is a folder to use instead of / (to try this script).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${EDGEKIT_INSTALL_ROOT:-}
rules_source=$here/../udev/99-edgetpu.rules
rules=$root/etc/udev/rules.d/99-edgetpu.rules
key=$root/etc/apt/keyrings/coral-edgetpu # with .asc or .gpg: apt decides by the suffix
old_key=$root/etc/apt/trusted.gpg.d/coral-edgetpu.asc # of edgekit 0.1, valid there for all sources
list=$root/etc/apt/sources.list.d/coral-edgetpu.list
notes=$root/var/lib/edgekit/installed
google=https://packages.cloud.google.com/apt

yes='' dry='' undo='' runtime=std pcie='' venv=/opt/edgekit edgekit=$(dirname "$here")
user=${SUDO_USER:-$(id -un)} key_sha256=''

fail() { # STATUS MESSAGE
  echo "error: $2" >&2
  exit "$1"
}

value() { # OPTION VALUE... -> the value, or a usage error
  [ $# -ge 2 ] || fail 2 "$1 needs a value"
  printf '%s' "$2"
}

while [ $# -gt 0 ]; do
  case $1 in
    --yes | -y) yes=1 ;;
    --dry-run) dry=1 ;;
    --uninstall) undo=1 ;;
    --pcie) pcie=1 ;;
    --runtime) runtime=$(value "$@") || exit 2; shift ;;
    --venv) venv=$(value "$@") || exit 2; shift ;;
    --edgekit) edgekit=$(value "$@") || exit 2; shift ;;
    --user) user=$(value "$@") || exit 2; shift ;;
    --key-sha256) key_sha256=$(value "$@") || exit 2; shift ;;
    --help | -h)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
      exit
      ;;
    *) fail 2 "unknown option $1 (--help shows them)" ;;
  esac
  shift
done
case $key_sha256 in *[!0-9a-f]*) fail 2 "--key-sha256 is $key_sha256, expected 64 digits 0-9a-f" ;; esac
case ${#key_sha256} in 0 | 64) ;; *) fail 2 "--key-sha256 has ${#key_sha256} digits, expected 64" ;; esac
case $runtime in std | max | none) ;; *) fail 2 "--runtime is $runtime, expected std, max or none" ;; esac

# shellcheck disable=SC1091 # exists only on the target machine
system=$(. "$root/etc/os-release" 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || true
case " $system " in
  *" debian "* | *" ubuntu "* | *" raspbian "* | *" mendel "*) ;;
  *) fail 3 "this is not Debian, Ubuntu, Raspberry Pi OS or Mendel (/etc/os-release: ${system:-nothing})" ;;
esac

sudo='sudo '
[ "$(id -u)" != 0 ] || sudo=''
id "$user" >/dev/null 2>&1 || fail 2 "there is no user $user"
case $venv in none | /?*) ;; *) fail 2 "--venv is $venv, expected an absolute path of a folder, or none" ;; esac
if [ -z "$undo" ] && [ "$venv" != none ] && [ ! -e "$root$venv/pyvenv.cfg" ]; then
  # --uninstall removes the whole folder, so it must be one that this script created.
  if [ -e "$root$venv" ] && { [ ! -d "$root$venv" ] || [ -n "$(ls -A "$root$venv" 2>&1)" ]; }; then
    fail 2 "--venv is $venv, which contains other files; name a folder that does not exist yet"
  fi
fi

# A plan is a list of lines "note<TAB>text<TAB>command"; --uninstall reads the notes.
plan=()
add() { # NOTE TEXT COMMAND
  plan+=("$1"$'\t'"$2"$'\t'"$3")
}
noted() { [ -f "$notes" ] && grep -qxF -- "$1" "$notes"; }
has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'; }
write_note() { # NOTE
  bash -c "${sudo}mkdir -p $(quote "$(dirname "$notes")") && ${sudo}tee -a $(quote "$notes") >/dev/null" <<<"$1"
}
quote() { printf '%q' "$1"; }

install_file() { # FILE -> a command that writes its input there
  printf '%s' "${sudo}install -D -m 644 /dev/stdin $(quote "$1")"
}

# Prints a command that fetches and checks Google's key, and adds the source with it.
add_source() {
  local url=$google/doc/apt-key.gpg check=true
  [ -z "$key_sha256" ] || check="[ \"\$(sha256sum <\"\$new\")\" = '$key_sha256  -' ]"
  cat <<END
new=\$(mktemp) && trap 'rm -f "\$new"' EXIT && { curl -fsSL --proto =https $url >"\$new" || wget -qO "\$new" --https-only $url; } && case \$(head -c 36 "\$new" | tr -d '\000') in '-----BEGIN PGP PUBLIC KEY BLOCK-----') kind=asc ;; \$'\x98'* | \$'\x99'* | \$'\xc6'*) kind=gpg ;; *) echo '$url gave no OpenPGP key' >&2; exit 1 ;; esac && { $check || { echo 'the key has another SHA-256 than --key-sha256' >&2; exit 1; }; } && $(install_file "$key").\$kind <"\$new" && echo "deb [signed-by=${key#"$root"}.\$kind] $google coral-edgetpu-stable main" | $(install_file "$list")
END
}

reload="${sudo}udevadm control --reload-rules && ${sudo}udevadm trigger"
[ -S "$root/run/udev/control" ] || reload=true # no udev runs here: a container, or an image

plan_install() {
  local group
  [ -f "$rules_source" ] || fail 3 "there is no $rules_source: run the script inside its checkout of edgekit"
  for group in plugdev apex; do
    getent group "$group" >/dev/null ||
      add "group $group" "create the group $group" "${sudo}groupadd --system $group"
    if [ "$user" != root ] && ! id -nG "$user" 2>/dev/null | tr ' ' '\n' | grep -qx "$group"; then
      add "member $group $user" "add $user to $group (from the next login on)" \
        "${sudo}usermod -aG $group $(quote "$user")"
    fi
  done
  cmp -s "$rules_source" "$rules" ||
    add "rules" "let these groups use the device: $rules" \
      "${sudo}install -D -m 644 $(quote "$rules_source") $(quote "$rules") && $reload"
  plan_packages
  [ "$venv" = none ] || plan_python
}

plan_packages() {
  local wanted=() missing=() google_has='' package
  [ "$runtime" = none ] || wanted+=("libedgetpu1-$runtime")
  [ -z "$pcie" ] || wanted+=(gasket-dkms "linux-headers-$(uname -r)")
  [ "$venv" = none ] || wanted+=(python3-venv)
  for package in "${wanted[@]}"; do
    has_package "$package" && continue
    missing+=("$package")
    case $package in libedgetpu1-* | gasket-dkms) google_has=1 ;; esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ -n "$google_has" ] && ! grep -rqs coral-edgetpu-stable "$root/etc/apt/sources.list.d" "$root/etc/apt/sources.list"; then
    add "apt" "add Google's package source: $list" \
      "$(add_source)"
  fi
  add "packages ${missing[*]}" "install ${missing[*]}" \
    "${sudo}apt-get update && ${sudo}env DEBIAN_FRONTEND=noninteractive apt-get install -y ${missing[*]}"
}

plan_python() {
  local folder=$root$venv pair=''
  # Google's library crashes with TensorFlow Lite 2.12 and newer (edgekit/versions.py).
  [ "$runtime" = none ] || pair=" $(quote "tflite-runtime<2.12; python_version < '3.10'")"
  if [ ! -x "$folder/bin/python" ]; then
    add "venv $venv" "make a virtual environment: $folder" \
      "${sudo}python3 -m venv --system-site-packages $(quote "$folder")"
  fi
  # -I: ignore edgekit's source folder, from which this script is often called.
  "$folder/bin/python" -I -c 'import edgekit' 2>/dev/null ||
    add "" "install edgekit from $edgekit into it" \
      "${sudo}$(quote "$folder/bin/python") -m pip install $(quote "${edgekit}[device]")$pair"
}

plan_uninstall() {
  local kind rest
  [ -f "$notes" ] || return 0
  while read -r kind rest; do
    case $kind in
      venv)
        [ ! -e "$root$rest/pyvenv.cfg" ] || # keep anything else that is there now
          add "" "remove the virtual environment $root$rest" "${sudo}rm -rf $(quote "$root$rest")"
        ;;
      packages) add "" "remove $rest" "${sudo}apt-get remove -y $rest" ;;
      apt) add "" "remove Google's package source" "${sudo}rm -f $(quote "$list") $(quote "$key").asc $(quote "$key").gpg $(quote "$old_key")" ;;
      rules) add "" "remove $rules" "${sudo}rm -f $(quote "$rules") && $reload" ;;
      member) add "" "remove ${rest#* } from ${rest%% *}" "${sudo}gpasswd -d $(quote "${rest#* }") ${rest%% *}" ;;
      group) add "" "remove the group $rest" "${sudo}groupdel $rest" ;;
    esac
  done <<<"$(tac "$notes")"
  add "" "remove the list of changes" "${sudo}rm -f $(quote "$notes")"
}

if [ -n "$undo" ]; then plan_uninstall; else plan_install; fi
if [ ${#plan[@]} -eq 0 ]; then
  echo "nothing to do: everything is installed"
  exit
fi

for line in "${plan[@]}"; do
  IFS=$'\t' read -r _ text command <<<"-$line" # a leading tab would be skipped
  printf -- '- %s\n    %s\n' "$text" "$command"
done
[ -z "$dry" ] || exit 0
if [ -z "$yes" ]; then
  read -r -p "do this? [y/N] " answer || answer=''
  case $answer in y | Y | yes) ;; *) fail 130 "nothing was done" ;; esac
fi

for line in "${plan[@]}"; do
  note=${line%%$'\t'*}
  command=${line##*$'\t'}
  bash -euo pipefail -c "$command" || fail 5 "this command failed, the ones before it succeeded: $command"
  if [ -n "$note" ] && ! noted "$note"; then
    write_note "$note"
  fi
done
doctor=edgekit
[ "$venv" = none ] || doctor=$root$venv/bin/edgekit
[ -n "$undo" ] || echo "done; log out and in again if groups have changed, then: $doctor doctor"
