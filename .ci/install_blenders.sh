#!/bin/bash
# Real Blenders on a bare Debian machine, from Debian's own packages: 4.3 (trixie) and the newest one (sid), each in
# a folder of its own with its own Python. About 2 minutes and 3.5 GB; needs root.
#
#     .ci/install_blenders.sh DIR
#     BLENDER="DIR/trixie.sh,DIR/sid.sh" python -m pytest tests/blender
#
# The wrappers bind /proc, /dev/shm and the current folder into the root, and this machine's whole tree at /host: a
# worker in this machine's Python is `chroot /host /path/to/python -m avatar_core.worker`.
#
# 4.3 must be there: a failure ends the script. The newest one is Debian's daily state and may fail for reasons of its
# own: that is said loudly, and the tests of the others still run.
set -euo pipefail
dir=$(realpath -m "${1:?usage: install_blenders.sh DIR}")
mkdir -p "$dir"
if ! command -v debootstrap >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap
fi
# The mirror this machine uses.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
  grep -E '^(URIs:|deb )' | grep -oE 'https?://[^ ]+' | head -1 || true)

install() {
  local suite=$1 extra=$2 root=$dir/$1
  if [ ! -x "$root/usr/bin/blender" ]; then
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >/dev/null
    cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" # proxies and certificates of this machine
    cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
    # shellcheck disable=SC2086
    chroot "$root" sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends blender python3-numpy libegl1 libgl1 libopengl0 libglx-mesa0 libgl1-mesa-dri $extra" \
      >/dev/null
  fi
  mkdir -p "$root/proc" "$root/dev/shm"
  cat >"$dir/$suite.sh" <<WRAPPER
#!/bin/bash
for m in /proc /dev/shm "\$PWD"; do mkdir -p "$root\$m"; mountpoint -q "$root\$m" || mount --bind "\$m" "$root\$m"; done
mkdir -p "$root/host"; mountpoint -q "$root/host" || mount --bind / "$root/host"
for m in /dev /proc /dev/shm; do mountpoint -q "$root/host\$m" || mount --bind "\$m" "$root/host\$m"; done
exec chroot "$root" env -C "\$PWD" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin blender "\$@"
WRAPPER
  chmod +x "$dir/$suite.sh"
  "$dir/$suite.sh" -b --version | head -1
}

install trixie ""
# The extension command of 5.2 imports these two. A subshell, so that a failure does not end the script; called on its
# own line, because `set -e` is off inside of a condition.
set +e
(
  set -e
  install sid "python3-cattr python3-requests"
)
failed=$?
set -e
if [ "$failed" -ne 0 ]; then
  printf '%s\n' "" "######################################################################" \
    "## THE NEWEST BLENDER (Debian sid) COULD NOT BE INSTALLED, code $failed." \
    "## The tests run in the other Blenders only; nothing is known of this one." \
    "######################################################################" "" >&2
fi
