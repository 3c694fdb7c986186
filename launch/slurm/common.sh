# What all jobs share: prepare the run folder, start the ranks, forward signals to them, and decide whether
# to requeue. The .sbatch files source it. launch/submit.py sets these variables; by hand, export them:
#
#   MASKLAB_CODE           the project's folder              (the folder in which sbatch was called)
#   MASKLAB_PYTHON         interpreter                       (.venv/bin/python there, or python3)
#   MASKLAB_SITE           a file to source first: modules, NCCL_SOCKET_IFNAME
#   MASKLAB_RUN_DIR        the run folder                    (read from the configuration)
#   MASKLAB_MAX_RESTARTS   requeues at most                  (50)
#   MASKLAB_IMAGE, MASKLAB_MOUNTS   container, by pyxis

code_dir=$MASKLAB_CODE
[ -z "${MASKLAB_SITE:-}" ] || . "$MASKLAB_SITE" || exit 2
set -uo pipefail

max_restarts=${MASKLAB_MAX_RESTARTS:-50}
# Starts in a row without progress, after which the job stops: one that is preempted at each start would
# otherwise be requeued for ever.
max_idle_starts=3
# The unit of progress.
unit=step
# scontrol takes SLURM_JOB_ID of an array's element for the whole array.
job=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

if [ -n "${MASKLAB_PYTHON:-}" ]; then python=$MASKLAB_PYTHON
elif [ -n "${MASKLAB_IMAGE:-}" ]; then python=python
elif [ -x "$code_dir/.venv/bin/python" ]; then python=$code_dir/.venv/bin/python
else python=python3; fi
# The interpreter outside the container.
host_python=$python
[ -z "${MASKLAB_IMAGE:-}" ] || host_python=python3

# Names and the content of files are printed on terminals: no control characters.
say() { local words=$*; echo "[$(date '+%F %T')] job $job: ${words//[[:cntrl:]]/?}"; }
leave() { say "$2"; exit "$1"; }

# -- the run folder --------------------------------------------------------------------------------

# Without MASKLAB_RUN_DIR it is read from the configuration; a wrong one ends the job here, before any rank
# starts.
find_run_dir() {
  local word printed
  run_dir=${MASKLAB_RUN_DIR:-}
  # A value is YAML: only one that is text in any reading is used as it stands.
  for word in "$@"; do
    [[ $word != run_dir=* ]] || run_dir=
    [[ ! $word =~ ^run_dir=([A-Za-z0-9_.]+/[A-Za-z0-9_./-]+)$ ]] || run_dir=${BASH_REMATCH[1]}
  done
  if [ -z "$run_dir" ]; then
    printed=$("$python" "$code_dir/$1" "${@:2}" --print-config) || exit $?
    # It may hold ${oc.env:...}.
    run_dir=$("$python" -c 'import sys, omegaconf as o; print(o.OmegaConf.load(sys.stdin).run_dir)' \
      <<<"$printed") || exit $?
  fi
  [[ $run_dir == /* ]] || run_dir=$PWD/$run_dir
  mkdir -p "$run_dir" || exit 2
}

# A folder that another process works on is left untouched. The lock of a lost node remains for a while.
require_idle() {
  local patience=3 held=(flock --conflict-exit-code 75)
  [ "${SLURM_RESTART_COUNT:-0}${MASKLAB_FOLLOWS:-}" = 0 ] || patience=180
  [ -e "$run_dir/lock" ] || return 0
  "${held[@]}" --nonblock "$run_dir/lock" true
  [ $? = 75 ] || return 0
  say "waiting up to $patience s for the lock of $run_dir"
  "${held[@]}" --timeout "$patience" "$run_dir/lock" true
  [ $? != 75 ] || leave 2 "another process works on $run_dir: $(holder)"
}

# Host, process and start time of the lock's owner.
holder() {
  sed -nE 's/^ "(host|pid|since)": "?([^"]*[^",])"?,?$/\1 \2/p' "$run_dir/lock" | paste -sd, |
    cut -c 1-200
}

write_status() { echo "$1" >"$run_dir/.status" && mv "$run_dir/.status" "$run_dir/status"; }
read_status() { cat "$run_dir/status" 2>/dev/null || echo pending; }

# The newest checkpoint in a folder, by its name; empty if there is none.
newest_in() { ls "$1/checkpoints" 2>/dev/null | grep -E '^step-[0-9]+$' | tail -n 1; }

# The step of the newest checkpoint, or the number of finished trials; 0 if there is none.
progress() {
  local newest
  if [ "$unit" = trial ]; then
    ls "$run_dir"/trials/*/result.json 2>/dev/null | wc -l
  else
    newest=$(newest_in "$run_dir")
    echo $((10#0${newest#step-}))
  fi
}

# A word that changes with any progress; adapting an encoder, and a trial's checkpoints, count as well.
mark() {
  local trial within
  within=$(newest_in "$run_dir/adapt")
  for trial in "$run_dir"/trials/*/; do within+=/$(newest_in "$trial"); done
  echo "$(progress)/$within"
}

# Writes one line per start, with the progress at that time; restarts and idle starts are counted from them.
record_start() {
  local starts=$run_dir/starts
  [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || [ -n "${MASKLAB_FOLLOWS:-}" ] || rm -f "$starts"
  first=$(progress) first_mark=$(mark)
  echo "$first_mark $job $(date '+%F %T')" >>"$starts"
  restarts=$(($(wc -l <"$starts") - 1))
  idle_starts=$(tac "$starts" | awk 'NR == 1 {first = $1} $1 != first {exit} {n++} END {print n}')
}

check_start() {
  local what="restart $restarts of $max_restarts"
  [ "$restarts" -gt 0 ] || what=start
  [ "$restarts" = 0 ] || [ -e "$run_dir/.requeued" ] ||
    say "Slurm requeued it: a node was lost, or preemption left no time to save"
  rm -f "$run_dir/.requeued"
  say "$what at $unit $first: $SLURM_NTASKS ranks on ${hosts[*]}, run folder $run_dir"
  if [ "$restarts" -gt "$max_restarts" ]; then
    write_status failed
    leave 1 "stopped: no more than $max_restarts restarts; submit it again to continue"
  elif [ "$idle_starts" -gt "$max_idle_starts" ]; then
    write_status failed
    leave 1 "stopped: $max_idle_starts starts in a row began at $unit $first and got no further"
  fi
  # The status that an earlier job left is not this job's.
  write_status pending
}

# -- ranks -----------------------------------------------------------------------------------------

rendezvous() {
  mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  export MASTER_ADDR=${hosts[0]}
  # Below the range of ports that the system assigns.
  export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
  export NCCL_DEBUG=${NCCL_DEBUG:-WARN} PYTHONFAULTHANDLER=1
  # srun, unlike sbatch, does not inherit --cpus-per-task.
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
}

step_options() {
  options=(--kill-on-bad-exit=1 --wait=60)
  [ "$SLURM_NTASKS" = 1 ] || options+=(--label)
  # On CPUs, the ranks of a node see all of the job's cores there, and each takes its share by its local rank.
  [ -n "${SLURM_GPUS_ON_NODE:-}" ] || ! scontrol show config | grep -q '^TaskPlugin .*affinity' ||
    options+=(--cpu-bind=none)
  [ -n "${MASKLAB_IMAGE:-}" ] || return 0
  options+=(--container-image="$MASKLAB_IMAGE" --container-workdir="$PWD")
  options+=(--container-mounts="$PWD:$PWD,$code_dir:$code_dir${MASKLAB_MOUNTS:+,$MASKLAB_MOUNTS}")
}

# Run a command on all ranks. $1: the reaction to a signal, `save` or `stop`.
# Sets `code`, srun's exit code, and `notice`, the first signal that arrived.
run_step() {
  local reaction=$1 name end
  read -r end < <(job_fields EndTime)
  # `date` reads an empty time as last midnight.
  deadline=$(date -d "${end:-unknown}" +%s 2>/dev/null) || deadline=$((1 << 62))
  srun "${options[@]}" "${@:2}" &
  step_pid=$! notice='' resender=''
  for name in USR1 USR2 TERM; do trap "take_notice $name $reaction" $name; done
  # `wait` returns early at each trap.
  while kill -0 "$step_pid" 2>/dev/null; do wait "$step_pid"; done
  wait "$step_pid"
  code=$?
  [ -z "$resender" ] || kill -KILL "$resender" 2>/dev/null
}

take_notice() {
  [ -z "$notice" ] || return 0
  notice=$1
  if [ "$2" = stop ]; then
    say "got SIG$1: stopping"
    kill -TERM "$step_pid" # srun then ends the step
    return
  fi
  say "got SIG$1: asking the ranks to save and leave"
  # A rank that is still importing ignores the signal, so it is repeated. Never TERM, which ends the step.
  (
    trap '' USR1 USR2 TERM
    while kill -USR1 "$step_pid"; do sleep 20; done
  ) &>/dev/null & # its last `sleep` outlives it, and must not hold the job's output open
  resender=$!
  disown
}

# -- requeueing ------------------------------------------------------------------------------------

# Fields of this job in Slurm. Not from `scontrol show job`, which prints names, comments and paths between
# them: any of those can look like a field.
job_fields() {
  local format=${*/%/:32}
  SLURM_TIME_FORMAT=standard squeue --noheader --jobs="$job" --Format="${format// /,}" 2>/dev/null
}

# Why Slurm is ending the job, if it is: `requeued` or `cancelled`. Slurm calls both COMPLETING, and would
# requeue a job that its owner has just cancelled. A job that reached its time limit may be requeued.
fate() {
  local state count
  read -r state count < <(job_fields State RestartCnt)
  [ -n "$state" ] && [ "$state" != RUNNING ] || return 0
  if [ "${count:-0}" -gt "${SLURM_RESTART_COUNT:-0}" ]; then
    echo requeued
  elif [ "$(date +%s)" -lt "$deadline" ]; then
    echo cancelled
  fi
}

# Requeue this job, and exit. $1: what happened, for the log; the rest: the script's arguments.
come_back() {
  local what=$1 next="restart $((restarts + 1)) of $max_restarts" answer fate
  shift
  fate=$(fate)
  if [ "$fate" = cancelled ]; then
    [ -z "${run_dir:-}" ] || write_status interrupted
    leave 1 "$what, cancelled: not requeued; submit it again to continue"
  fi
  [ -z "${run_dir:-}" ] || : >"$run_dir/.requeued"
  [ "$fate" != requeued ] || leave 0 "$what, requeued by Slurm ($next)"
  [ "$restarts" -lt "$max_restarts" ] ||
    leave 1 "$what; not requeued after $max_restarts restarts; submit it again to continue"
  # Once a requeue is accepted, Slurm sends TERM to this script.
  trap '' TERM
  ! answer=$(scontrol requeue "$job" 2>&1) || leave 0 "$what, requeued ($next)"
  say "$what; requeue refused: ${answer//$'\n'/ }"
  follow_up "$next" "$@"
}

# Where a site forbids requeueing: submit a new job that begins when this one has ended.
follow_up() {
  local next=$1 answer script said
  shift
  local options=(--parsable --dependency="afterany:$job" --partition="$SLURM_JOB_PARTITION")
  options+=(--nodes="$SLURM_JOB_NUM_NODES")
  [ -z "${SLURM_NTASKS_PER_NODE:-}" ] || options+=(--ntasks-per-node="$SLURM_NTASKS_PER_NODE")
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || options+=(--array="$SLURM_ARRAY_TASK_ID")
  script=$(mktemp) && scontrol write batch_script "$SLURM_JOB_ID" "$script" >/dev/null || exit 1
  said=$script.said
  answer=$(MASKLAB_FOLLOWS=1 sbatch "${options[@]}" "$script" "$@" 2>"$said") ||
    leave 1 "no follow-up either: $(<"$said")"
  rm -f "$script" "$said"
  answer=${answer%%;*}
  [ -z "${run_dir:-}" ] || echo "$answer" >"$run_dir/job.id"
  leave 0 "job $answer follows ($next)"
}

# Broken connections show a power cut long before Slurm notices it.
is_node_lost() {
  [ "$SLURM_JOB_NUM_NODES" -gt 1 ] || return 1
  ! timeout 60 srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 true 2>/dev/null
}

# -- a whole job -----------------------------------------------------------------------------------

# Run a training command (launch/....py and its arguments) until it ends or asks for another start.
run_training() {
  find_run_dir "$@"
  require_idle
  record_start
  rendezvous
  check_start
  export MASKLAB_EXIT_CODE=$run_dir/.exit-code
  rm -f "$MASKLAB_EXIT_CODE" "$run_dir/REQUEUE"
  step_options
  local again=()
  # A restart resumes from its own last checkpoint, not from the one that the first start was given.
  [ "$restarts" = 0 ] || [ "$1" != launch/pretrain.py ] || again=(checkpoint.resume=auto)
  run_step save bash "$code_dir/launch/slurm/rank.sh" "$python" -u "$code_dir/$1" "${@:2}" "${again[@]}"
  # srun returns 143 for ranks that it ended because another one failed: use the first failure's code.
  if [ "$code" != 0 ] && [ -s "$MASKLAB_EXIT_CODE" ]; then
    read -r first_code <"$MASKLAB_EXIT_CODE"
    # Bash would evaluate anything but a number when it compares or subtracts.
    [[ ! $first_code =~ ^[0-9]{1,3}$ ]] || code=$first_code
  fi
  rm -f "$MASKLAB_EXIT_CODE"
}

# After `run_training`: exit or requeue. The arguments are those of the script.
finish() {
  local end step reason
  # Slurm's SIGTERM goes to every process of the job, also to this subshell: try twice.
  end=$(progress) || end=$(progress)
  if [ -e "$run_dir/REQUEUE" ]; then
    read -r step reason <"$run_dir/REQUEUE"
    rm -f "$run_dir/REQUEUE"
    [ "$(mark)" != "$first_mark" ] || [ "$idle_starts" -lt "$max_idle_starts" ] ||
      leave 1 "preempted ($reason), the $idle_starts. time without progress: not requeued"
    come_back "preempted at step $step ($reason)" "$@"
  elif [ "$(read_status)" = completed ]; then
    # A rank may fail while it exits, after everything is done.
    [ "$code" = 0 ] || reason=", though a rank left with code $code"
    leave 0 "completed at $unit $end${reason:-}"
  elif [ "$code" != 0 ] && { [ "$(fate)" = requeued ] || is_node_lost; }; then
    write_status preempted
    come_back "lost a node; saved: $unit $end" "$@"
  elif [ "$code" = 0 ] && [ -n "$notice" ] && [ "$(read_status)" = pending ]; then
    # Preempted so early that no run folder existed to record it in.
    [ "$idle_starts" -lt "$max_idle_starts" ] ||
      leave 1 "preempted (SIG$notice), the $idle_starts. time without progress: not requeued"
    write_status preempted
    come_back "preempted before it began (SIG$notice)" "$@"
  elif [ "$code" = 0 ]; then
    leave 0 "$(read_status) at $unit $end"
  fi
  # A rank that only saw another one leave writes `preempted`; with all nodes still there, it was a failure.
  [[ $(read_status) != @(running|pending|preempted) ]] || write_status failed
  leave "$code" "$(read_status) after $unit $end with exit code $code$(explain)"
}

explain() { [ "$code" -ne 137 ] || echo " (killed from outside; mostly for want of memory)"; }
