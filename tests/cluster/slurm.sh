#!/usr/bin/env bash
# A Slurm on this machine, for tests: slurm.sh start | stop. As root, on Debian.
#
# Two nodes, of which the second is this machine by another name, with a GPU each that Slurm counts and nobody has; a
# partition of one node, one that preempts it, and one of both nodes.
# With SLURM_TEST_ACCOUNTING=yes it keeps accounts: by slurmdbd, in a MariaDB of its own.
#
# Its ports, from SLURM_TEST_PORT on, lie below those that the kernel hands out to clients. It keeps to a folder of its
# own (SLURM_TEST_FOLDER, by default /tmp/isoflop-slurm), prints the environment that its commands need, and ends only
# what it has started. Exits with 3 where Slurm can't be installed.
set -euo pipefail

folder=${SLURM_TEST_FOLDER:-/tmp/isoflop-slurm}
port=${SLURM_TEST_PORT:-26817}
accounting=${SLURM_TEST_ACCOUNTING:-no}
host=$(hostname -s)
second=$host-second  # sorted after the first, whose name the kernel knows

require() {  # commands, and the packages that have them
    local command
    for command in $1; do
        command -v "$command" >/dev/null && continue
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 - several packages
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $2; } >&2 || exit 3
    done
}

keep_accounts() {
    mkdir "$folder/db"
    mariadbd --no-defaults --user=root --skip-grant-tables --datadir="$folder/db" --pid-file="$folder/mariadb.pid" \
        --socket="$folder/db/socket" --bind-address=127.0.0.1 --port=$((port + 4)) >"$folder/log/mariadb" 2>&1 &
    cat >"$folder/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,ttl=5,cred_expire=5
DbdHost=localhost
DbdPort=$((port + 3))
SlurmUser=root
PidFile=$folder/slurmdbd.pid
LogFile=$folder/log/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 4))
StorageUser=root
CONF
    chmod 600 "$folder/slurmdbd.conf"
    cat >>"$folder/slurm.conf" <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((port + 3))
AccountingStoragePass=$folder/munge/socket
JobAcctGatherType=jobacct_gather/linux
CONF
    for _ in $(seq 100); do
        [ -S "$folder/db/socket" ] && break
        sleep 0.2
    done
    slurmdbd >&2
    for _ in $(seq 100); do
        sacctmgr --immediate --quiet add cluster isoflop >/dev/null 2>&1 && return
        sleep 0.2
    done
    echo "slurmdbd did not come up:" >&2
    cat "$folder/log/slurmdbd" >&2
    exit 1
}

start() {
    require "slurmctld slurmd munged" "slurm-wlm munge"
    [ "$accounting" = no ] || require "slurmdbd mariadbd" "slurmdbd mariadb-server-core"
    mkdir -p "$folder/state" "$folder/spool/$host" "$folder/spool/$second" "$folder/log" "$folder/munge"
    chmod 755 "$folder"
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 400 "$folder/munge/key"
    chmod 711 "$folder/munge"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=isoflop
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,ttl=5,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=60
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=$(nproc) RealMemory=16000 Gres=gpu:1 State=UNKNOWN
NodeName=$second NodeHostname=$second NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=$(nproc) RealMemory=16000 Gres=gpu:1 State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
PartitionName=pair Nodes=$host,$second MaxTime=INFINITE State=UP PriorityTier=1
CONF
    echo "Name=gpu File=/dev/zero" >"$folder/gres.conf"
    export SLURM_CONF=$folder/slurm.conf
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" >&2
    [ "$accounting" = no ] || keep_accounts
    slurmctld -c >&2
    slurmd -c >&2
    unshare --uts bash -c 'hostname "$1" && slurmd -c' - "$second" >&2
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --Node --partition=pair --format=%t 2>/dev/null | grep -cx idle)" = 2 ]; then
            echo "export SLURM_CONF=$folder/slurm.conf"
            return
        fi
        sleep 0.2
    done
    echo "the nodes did not come up:" >&2
    cat "$folder"/log/* >&2
    stop
    exit 1
}

stop() {
    for pid_file in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/slurmdbd.pid" "$folder/mariadb.pid" \
        "$folder/munge/pid"; do
        if [ -f "$pid_file" ]; then
            pid=$(cat "$pid_file")
            kill "$pid" 2>/dev/null || true
            for _ in $(seq 50); do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.1
            done
        fi
    done
    rm -rf "$folder"
}

case "${1:-}" in
start | stop) "$1" ;;
*)
    echo "usage: slurm.sh start | stop" >&2
    exit 2
    ;;
esac
