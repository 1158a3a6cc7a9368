#!/bin/busybox sh
# shellcheck shell=dash
# The first process of an arm64 Linux guest: a shell on the console, and on the second serial port a
# loop that answers requests (docs/arm64-linux.md). A request is a command line for the shell; the
# answer is what that prints. busybox is all there is.
export PATH=/bin:/sbin HOME=/ PS1='# '
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp

serve() {
  exec 3<>/dev/ttyAMA1
  stty raw -echo <&3
  echo ready >&3
  while read -r size <&3; do
    dd bs=1 count="$size" <&3 >/run/request 2>/dev/null
    sh /run/request >/run/response 2>&1 </dev/null
    echo "response $(stat -c %s /run/response)" >&3
    cat /run/response >&3
  done
}

echo "stasis: Linux $(uname -r), $(nproc) CPUs, up $(cut -d' ' -f1 /proc/uptime) s"
serve &
while :; do
  setsid cttyhack sh
done
