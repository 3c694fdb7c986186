#!/usr/bin/env bash
# A real Slurm of several nodes on one machine, for tests. Needs root and a Debian-like system.
#
#   cluster.sh up              install what is missing, start, wait until every node is idle
#   cluster.sh kill-node N     a power cut: all processes of node N are gone at once
#   cluster.sh start-node N    and on again
#   cluster.sh down            end everything, leave nothing behind
#
# Each node is a PID, host name and network namespace: a wrong MASTER_ADDR fails as it would on a real
# cluster. Partitions: main; preempt, whose jobs are requeued, after 20 s of grace, by those of urgent.
#
# CLUSTER_DIR     state, logs, slurm.conf     CLUSTER_NODES   number of nodes (2)
# CLUSTER_PREFIX  of node names (mlab)        CLUSTER_CPUS, CLUSTER_GPUS   each node shows (4, 2)
# CLUSTER_PORT    of the controller; node I listens at the port I later (18817)
# CLUSTER_NET     first three numbers of the nodes' addresses (10.231.83)
# CLUSTER_DELAY   seconds until a requeued job may start again (5)
set -euo pipefail

dir=${CLUSTER_DIR:?where to keep the state} prefix=${CLUSTER_PREFIX:-mlab} port=${CLUSTER_PORT:-18817}
net=${CLUSTER_NET:-10.231.83} nodes=${CLUSTER_NODES:-2} cpus=${CLUSTER_CPUS:-4} gpus=${CLUSTER_GPUS:-2}
delay=${CLUSTER_DELAY:-5}
bridge=mlb$port mark="# test cluster $dir"
export SLURM_CONF=$dir/slurm.conf PATH=$PATH:/usr/sbin:/sbin

die() { echo "cluster.sh: $*" >&2; exit 1; }
namespace() { echo "ml$port-$1"; }
address() { echo "$net.$((10 + $1))"; }

# Wait up to $1 seconds for a command to succeed.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt "$end" ] || return 1
    sleep 0.1
  done
}

# The process of a pid file, if it still runs the program $2: numbers get used again.
pid_of() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "$2" && echo "$pid"
}
is_gone() { ! [ -r "/proc/$1/stat" ] || grep -q '^State:.Z' "/proc/$1/status"; }
stop() { # pid file, program, signal
  local pid
  pid=$(pid_of "$1" "$2") || return 0
  kill "-$3" "$pid" 2>/dev/null || true
  wait_for 10 is_gone "$pid" || kill -KILL "$pid"
  rm -f "$1"
}

install_packages() {
  local packages=(slurmctld slurmd slurm-client munge iproute2) policy=/usr/sbin/policy-rc.d
  dpkg -s "${packages[@]}" >/dev/null 2>&1 && return
  # The daemons are started here, not by the packages.
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } \
    >"$dir/apt.log" 2>&1 || die "apt-get cannot install ${packages[*]}: $(tail -n 1 "$dir/apt.log")"
}

write_configuration() {
  local i
  mkdir -p "$dir"/{munge,state,spool,log,run,dev}
  chmod 755 "$dir" "$dir/munge"
  (umask 077; head -c 1024 /dev/urandom >"$dir/munge/key")
  # CUDA_VISIBLE_DEVICES is set only for GPUs that are device nodes: null devices do.
  for ((i = 0; i < gpus; i++)); do mknod -m 666 "$dir/dev/gpu$i" c 1 3; done
  : >"$dir/gres.conf"
  [ "$gpus" = 0 ] || echo "NodeName=$prefix[1-$nodes] Name=gpu File=$dir/dev/gpu[0-$((gpus - 1))] Flags=nvidia_gpu_env" >"$dir/gres.conf"
  echo CgroupPlugin=cgroup/v1 >"$dir/cgroup.conf"
  cat >"$SLURM_CONF" <<CONF
ClusterName=masklab
SlurmctldHost=$(hostname -s)($net.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its credentials have expired.
AuthInfo=socket=$dir/munge/socket,cred_expire=$delay
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=20
CompleteWait=0
MinJobAge=3600
BatchStartTimeout=10
UnkillableStepTimeout=30
ReturnToService=2
FirstJobId=$(($(date +%s) % 9000000 + 1000))
TreeWidth=50
MessageTimeout=10
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
PartitionName=DEFAULT Nodes=$prefix[1-$nodes] MaxTime=1-0 DefaultTime=10 State=UP PreemptMode=OFF
PartitionName=main    PriorityTier=10 Default=YES
PartitionName=urgent  PriorityTier=100
PartitionName=preempt PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
CONF
  for ((i = 1; i <= nodes; i++)); do
    echo "NodeName=$prefix$i NodeAddr=$(address $i) Port=$((port + i)) CPUs=$cpus RealMemory=8000 Gres=gpu:$gpus State=UNKNOWN" >>"$SLURM_CONF"
  done
  [ "$gpus" != 0 ] || sed -i 's/ Gres=gpu:0//' "$SLURM_CONF"
}

connect() {
  local i name
  ip link add "$bridge" type bridge
  ip addr add "$net.1/24" dev "$bridge"
  ip link set "$bridge" up
  for ((i = 1; i <= nodes; i++)); do
    name=$(namespace $i)
    ip netns add "$name"
    ip link add "mv$port-$i" type veth peer name eth0 netns "$name"
    ip link set "mv$port-$i" master "$bridge" up
    ip -n "$name" addr add "$(address $i)/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$name" link set lo up
    echo "$(address $i) $prefix$i $mark" >>/etc/hosts
  done
}

disconnect() {
  local i hosts
  for ((i = 1; i <= nodes; i++)); do ip netns del "$(namespace $i)" 2>/dev/null || true; done
  ip link del "$bridge" 2>/dev/null || true
  # Not sed -i, which renames: in containers /etc/hosts is a mount.
  hosts=$(grep -vF "$mark" /etc/hosts) && printf '%s\n' "$hosts" >/etc/hosts
}

start_node() {
  pid_of "$dir/run/node$1.pid" "unshare .* $SLURM_CONF" >/dev/null && return
  mkdir -p "$dir/spool/$prefix$1"
  # The node's first process is a bash, which reaps what slurmd leaves; --kill-child lets a
  # SIGKILL take the whole node along.
  setsid ip netns exec "$(namespace "$1")" \
    unshare --pid --fork --kill-child=SIGKILL --uts --mount-proc \
    bash -c 'hostname "$1"; slurmd -D -f "$2" -N "$1" & wait $!' node "$prefix$1" "$SLURM_CONF" \
    </dev/null >>"$dir/log/node$1.out" 2>&1 &
  echo $! >"$dir/run/node$1.pid"
}
kill_node() { stop "$dir/run/node$1.pid" "unshare .* $SLURM_CONF" KILL; }

are_idle() { [ "$(sinfo -h -p main -t idle -o %D)" = "$nodes" ]; }

up() {
  [ "$(id -u)" = 0 ] || die "needs root"
  mkdir -p "$dir"
  install_packages
  write_configuration
  connect || die "cannot make network namespaces"
  munged --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/run/munged.pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
  slurmctld -c -f "$SLURM_CONF"
  wait_for 20 scontrol ping || die "slurmctld did not start: $dir/log/slurmctld.log"
  local i
  for ((i = 1; i <= nodes; i++)); do start_node $i; done
  wait_for 40 are_idle || die "not all nodes are idle: $dir/log"
}

down() {
  local i
  timeout 5 scancel --full --user=root >/dev/null 2>&1 || true
  for ((i = 1; i <= nodes; i++)); do kill_node $i; done
  stop "$dir/run/slurmctld.pid" slurmctld TERM
  stop "$dir/run/munged.pid" munged TERM
  disconnect
  rm -rf "$dir"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  kill-node) kill_node "$2" ;;
  start-node) start_node "$2" ;;
  *) sed -n '2,18p' "$0"; exit 2 ;;
esac
