#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: slurm.sh start | stop. As root, on Debian.
#
# It keeps to a folder of its own (SLURM_TEST_FOLDER, by default /tmp/isoflop-slurm), prints the environment that its
# commands need, and ends only what it has started. Exits with 3 where Slurm can't be installed.
set -euo pipefail

folder=${SLURM_TEST_FOLDER:-/tmp/isoflop-slurm}

start() {
    if ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >&2 || exit 3
    fi
    mkdir -p "$folder/state" "$folder/spool" "$folder/log" "$folder/munge"
    chmod 755 "$folder"
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 400 "$folder/munge/key"
    chmod 711 "$folder/munge"
    host=$(hostname -s)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=isoflop
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,ttl=5,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmctldPort=36817
SlurmdPort=36818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=60
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$folder/slurm.conf
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" >&2
    slurmctld -c >&2
    slurmd -c >&2
    for _ in $(seq 100); do
        if sinfo --noheader --format=%t 2>/dev/null | grep -qx idle; then
            echo "export SLURM_CONF=$folder/slurm.conf"
            return
        fi
        sleep 0.2
    done
    echo "the node did not come up:" >&2
    cat "$folder"/log/* >&2
    stop
    exit 1
}

stop() {
    for pid_file in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
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
