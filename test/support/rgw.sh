#!/usr/bin/env bash
# A real S3 server for tests: Ceph's RGW with one monitor and one OSD in memory, on loopback only, up in two seconds.
#
#   rgw.sh start DIR   starts it with all its files in DIR, prints endpoint and credentials as shell assignments
#   rgw.sh stop DIR    ends what runs in DIR
#   rgw.sh hold DIR    start, then waits for the end of standard input, then stops and removes DIR: whoever holds the
#                      other end of the pipe may die in any way, and nothing stays behind
#
# RGW_PORT (9010) and RGW_MON_PORT (6790) must differ between servers that run at once; DIR must, too.
# Debian and Ubuntu: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd
set -euo pipefail

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
action=$1 dir=$2
port=${RGW_PORT:-9010} mon_port=${RGW_MON_PORT:-6790}
access=postern-test secret=postern-test-secret
conf=$dir/ceph.conf

# Waits up to 30 s until the command succeeds: Ceph's tools fail while a daemon is still on its way up.
until_ok() {
  local tries
  for ((tries = 0; tries < 150; tries++)); do
    if "$@" >"$dir/last.out" 2>&1; then return 0; fi
    sleep 0.2
  done
  echo "rgw.sh: gave up on: $*" >&2
  tail -n 5 "$dir/last.out" >&2
  return 1
}

# Only loopback, no authentication inside, one copy of everything, and nothing that runs in the background.
write_conf() {
  cat >"$conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
monmap = $dir/monmap
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd class update on start = false
osd crush update on start = false
osd class dir = $(dirname "$(find /usr/lib -name libcls_rgw.so -print -quit)")
osd objectstore = memstore
memstore device bytes = 4294967296
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
log file = $dir/\$name.log
log to stderr = false
admin socket = $dir/\$name.\$pid.asok
run dir = $dir
crash dir = $dir
[mon.a]
mon data = $dir/mon
mon initial members = a
# One proposal gathers what comes in this time; the default of a second is most of a start.
paxos propose interval = 0.05
mon osd min up ratio = 0
[osd.0]
osd data = $dir/osd
[client.rgw]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw enable ops log = false
rgw enable usage log = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
rgw dynamic resharding = false
rgw override bucket index max shards = 1
CONF
}

# A daemon of ours, told from another process with the same number by our configuration in its command line.
daemon() {
  local name=$1
  shift
  "$@" -c "$conf" -f </dev/null >"$dir/$name.out" 2>&1 &
  echo $! >"$dir/$name.pid"
  # The shell would report its end.
  disown
}
is_running() { [ -f "$dir/$1.pid" ] && grep -qaF "$conf" "/proc/$(cat "$dir/$1.pid")/cmdline" 2>/dev/null; }

is_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
osd_is_up() { ceph -c "$conf" --connect-timeout 5 osd stat | grep -q '1 up'; }

start() {
  local tool
  for tool in radosgw radosgw-admin ceph ceph-mon ceph-osd monmaptool; do
    command -v "$tool" >/dev/null || { echo "rgw.sh: $tool is not installed" >&2; exit 1; }
  done
  local wanted
  for wanted in "$port" "$mon_port"; do
    if is_listening "$wanted"; then echo "rgw.sh: port $wanted is taken" >&2; exit 1; fi
  done
  mkdir -p "$dir"/{mon,osd,rgw}
  write_conf
  local osd_id
  osd_id=$(cat /proc/sys/kernel/random/uuid)
  monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$conf")" \
    --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap" >/dev/null
  ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" >"$dir/mkfs.out" 2>&1
  daemon mon ceph-mon -i a
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd_id" >>"$dir/mkfs.out" 2>&1
  until_ok ceph -c "$conf" --connect-timeout 5 osd new "$osd_id"
  # The OSD would place itself, but asks before it has the monitor's map when it starts this fast.
  until_ok ceph -c "$conf" --connect-timeout 5 osd crush create-or-move osd.0 1.0 host=h root=default
  daemon osd ceph-osd -i 0
  until_ok osd_is_up
  until_ok timeout 20 radosgw-admin -c "$conf" user create --uid=test --display-name=test \
    --access-key="$access" --secret-key="$secret"
  daemon rgw radosgw -n client.rgw
  until_ok is_listening "$port"
  is_running rgw || { echo "rgw.sh: radosgw ended: $(tail -n 3 "$dir/rgw.out")" >&2; exit 1; }
  echo "AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port"
  echo "AWS_ACCESS_KEY_ID=$access"
  echo "AWS_SECRET_ACCESS_KEY=$secret"
  echo "AWS_REGION=us-east-1"
}

# In memory there is nothing to save, so nothing is asked to end in order.
stop() {
  local name
  for name in rgw osd mon; do
    if is_running "$name"; then kill -KILL "$(cat "$dir/$name.pid")" || true; fi
    rm -f "$dir/$name.pid"
  done
}

hold() {
  # It will be removed.
  [ -z "$(ls -A "$dir" 2>/dev/null)" ] || { echo "rgw.sh: $dir is not empty" >&2; exit 1; }
  trap 'stop; rm -rf "$dir"' EXIT
  # These end the script by its EXIT trap.
  trap 'exit 1' INT TERM HUP
  start
  echo ready
  while read -r _; do :; done
}

case $action in
  start) start ;;
  stop) stop ;;
  hold) hold ;;
  *) usage ;;
esac
