#!/usr/bin/env bash
# Runs a script as root of a guest in new namespaces: apart.bash SCRIPT, as `unshare` starts it in them. /run and
# /sys are new too; /run has what that of a new guest has.
exec 2>&1
cat >/run/fstab <<'END'
guest /run/new tmpfs X-mount.mkdir
/run/modules /run/new/modules none X-mount.mkdir,rbind
guest /run/new/netns tmpfs X-mount.mkdir
new /sys sysfs
END
mount --all --fstab /run/fstab && mount --no-mtab --move /run/new /run || exit 99
echo 0x9 >/sys/class/net/lo/flags
export -n LC_ALL
export TMPDIR=/run
cd /
bash "$1"
