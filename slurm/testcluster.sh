#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, for tests and for trying scripts: slurm/testcluster.sh start | status | stop
#
#     eval "$(slurm/testcluster.sh start)"     # now sbatch, squeue, srun ... talk to it
#     slurm/testcluster.sh stop
#
# Everything it writes is in one folder, $TESTCLUSTER (default: decomp-testcluster-UID in the folder for temporary
# files): configuration, keys, logs, spool. Nodes are two slurmd under names of their own; no cgroups, no accounting.
# Any user can run it. Only installing the packages, which `start` does where they are missing, takes root.
# Under slurm/distance.py, node two is the far machine.
set -euo pipefail

folder=${TESTCLUSTER:-${TMPDIR:-/tmp}/decomp-testcluster-$UID}
packages=(slurmctld slurmd slurm-client munge)
read -r near far <<<"${DISTANCE_ADDRESSES:-127.0.0.1 127.0.0.1}"
PATH=$PATH:/usr/sbin
export SLURM_CONF=$folder/slurm.conf

die() { echo "error: $*" >&2; exit 1; }

present() { command -v slurmctld slurmd sbatch munged >/dev/null; }

install() {
    present && return
    exec 9>"${TMPDIR:-/tmp}/decomp-testcluster-install"
    flock 9  # several may start at once
    present && return
    [ "$UID" = 0 ] && command -v apt-get >/dev/null ||
        die "Slurm is not installed: as root, apt-get install ${packages[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -yq --no-install-recommends "${packages[@]}"; } >&2 && present || die "Slurm cannot be installed"
    exec 9>&-
}

free_port() {  # the first from $1 on where nobody listens
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

configure() {
    local cores memory controller first second
    cores=$(getconf _NPROCESSORS_ONLN) memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    controller=$(free_port $((20000 + $$ * 7 % 10000))) first=$(free_port $((controller + 1))) second=
    second=$(free_port $((first + 1)))
    cat >"$SLURM_CONF" <<END
ClusterName=testcluster
SlurmctldHost=$(hostname -s)($near)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$controller
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/%n
SlurmdPidFile=$folder/%n.pid
SlurmdLogFile=$folder/%n.log
# MPICH names its shared memory by the job's number: no number twice, lest it meets what a killed job has left.
FirstJobId=$((($(date +%s) * 10 + $$ % 10) % 60000000 + 1))
# cred_expire is also how long a requeued job waits before it may start again.
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobs.log
SwitchType=switch/none
MpiDefault=pmi2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=0
MinJobAge=3600
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=one NodeHostname=$(hostname -s) NodeAddr=$near Port=$first CPUs=$cores RealMemory=$memory
NodeName=two NodeHostname=$(${DISTANCE_FAR:-} hostname -s) NodeAddr=$far Port=$second CPUs=$cores RealMemory=$memory
PartitionName=test Nodes=one,two Default=YES MaxTime=INFINITE State=UP
END
}

running() {  # the process of a pid file, if it is still that program
    local pid
    pid=$(cat "$folder/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] && echo "$pid"
}

daemons="slurmctld:slurmctld one:slurmd two:slurmd munged:munged"  # in the order in which they are ended

start() {
    install
    running slurmctld slurmctld >/dev/null && die "it runs already, in $folder"
    rm -rf "$folder"
    (umask 022 && mkdir -p "$folder"/{state,one,two})
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    configure
    trap 'tail -n 5 "$folder"/*.log >&2; stop; die "it does not start"' ERR
    # --force: the folder may be closed to other users, who have no business here
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --seed-file="$folder/munge.seed" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log"
    slurmctld
    slurmd -N one
    ${DISTANCE_FAR:-} slurmd -N two
    for _ in $(seq 100); do
        [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && break
        sleep 0.2
    done
    [ "$(sinfo -h -t idle -o %D)" = 2 ]
    trap - ERR
    echo "export SLURM_CONF=$SLURM_CONF"
}

stop() {
    local entry pid pids=()
    [ -d "$folder" ] || return 0
    running slurmctld slurmctld >/dev/null && timeout 20 scancel -u "$(id -un)" 2>/dev/null || true
    for _ in $(seq 50); do  # steps end with their jobs
        [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break
        sleep 0.2
    done
    for entry in $daemons; do
        pid=$(running "${entry%:*}" "${entry#*:}") && kill "$pid" && pids+=("$pid") || true
    done
    for pid in ${pids[@]+"${pids[@]}"}; do
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}

status() {
    running slurmctld slurmctld >/dev/null || { echo "not running"; return 1; }
    echo "export SLURM_CONF=$SLURM_CONF"
    sinfo
    squeue
}

case "${1:-}" in
    start | stop | status) "$1" ;;
    *) die "say start, stop or status" ;;
esac
