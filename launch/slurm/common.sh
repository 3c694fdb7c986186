# What every job does: find itself, start ranks, pass notices on, decide whether to come back.
# Sourced by the .sbatch files beside it. launch/submit.py sets these; by hand, export them:
#
#   MASKLAB_CODE           the project's folder              (the folder that sbatch was typed in)
#   MASKLAB_PYTHON         interpreter                       (.venv/bin/python there, or python3)
#   MASKLAB_SITE           a file to source first: modules, NCCL_SOCKET_IFNAME
#   MASKLAB_RUN_DIR        the run folder                    (asked of the configuration)
#   MASKLAB_MAX_RESTARTS   requeues at most                  (50)
#   MASKLAB_IMAGE, MASKLAB_MOUNTS   container, by pyxis

code_dir=$MASKLAB_CODE
[ -z "${MASKLAB_SITE:-}" ] || . "$MASKLAB_SITE" || exit 2
set -uo pipefail

max_restarts=${MASKLAB_MAX_RESTARTS:-50}
# Starts in a row without progress. One may be preempted as it begins, but that must end.
max_idle_starts=3
# What progress is counted in.
unit=step
# To scontrol, the bare id of an array's element can mean the whole array.
job=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

if [ -n "${MASKLAB_PYTHON:-}" ]; then python=$MASKLAB_PYTHON
elif [ -n "${MASKLAB_IMAGE:-}" ]; then python=python
elif [ -x "$code_dir/.venv/bin/python" ]; then python=$code_dir/.venv/bin/python
else python=python3; fi
# Beside the container, where the interpreter is another.
host_python=$python
[ -z "${MASKLAB_IMAGE:-}" ] || host_python=python3

# Names, and what files of others hold, reach a terminal in the end.
say() { local words=$*; echo "[$(date '+%F %T')] job $job: ${words//[[:cntrl:]]/?}"; }
leave() { say "$2"; exit "$1"; }

# -- the run folder --------------------------------------------------------------------------------

# Without MASKLAB_RUN_DIR the configuration knows; a wrong one ends here, before any rank starts.
find_run_dir() {
  local word printed
  run_dir=${MASKLAB_RUN_DIR:-}
  # A value is YAML: only what cannot be but text is taken as it stands.
  for word in "$@"; do
    [[ $word != run_dir=* ]] || run_dir=
    [[ ! $word =~ ^run_dir=([A-Za-z0-9_.]+/[A-Za-z0-9_./-]+)$ ]] || run_dir=${BASH_REMATCH[1]}
  done
  if [ -z "$run_dir" ]; then
    printed=$("$python" "$code_dir/$1" "${@:2}" --print-config) || exit $?
    # It may ask for variables.
    run_dir=$("$python" -c 'import sys, omegaconf as o; print(o.OmegaConf.load(sys.stdin).run_dir)' \
      <<<"$printed") || exit $?
  fi
  [[ $run_dir == /* ]] || run_dir=$PWD/$run_dir
  mkdir -p "$run_dir" || exit 2
}

# Whoever works on the folder keeps it: nothing in it is touched. The lock of a node that was lost
# stays for a while.
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

# Host, process, and since when.
holder() {
  sed -nE 's/^ "(host|pid|since)": "?([^"]*[^",])"?,?$/\1 \2/p' "$run_dir/lock" | paste -sd, |
    cut -c 1-200
}

write_status() { echo "$1" >"$run_dir/.status" && mv "$run_dir/.status" "$run_dir/status"; }
read_status() { cat "$run_dir/status" 2>/dev/null || echo pending; }

# The step of the newest checkpoint, or the number of finished trials; 0 where there is none.
progress() {
  local newest
  if [ "$unit" = trial ]; then
    ls "$run_dir"/trials/*/result.json 2>/dev/null | wc -l
  else
    newest=$(ls "$run_dir/checkpoints" 2>/dev/null | grep -E '^step-[0-9]+$' | tail -n 1)
    echo $((10#0${newest#step-}))
  fi
}

# What changes with any progress: adapting an encoder, before its first trial, counts as well.
mark() {
  local adapted
  adapted=$(ls "$run_dir/adapt/checkpoints" 2>/dev/null | grep -E '^step-[0-9]+$' | tail -n 1)
  echo "$(progress)${adapted:+/$adapted}"
}

# One line for each start, with the place it began at: restarts and progress are counted by them.
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
    leave 1 "stopped: no more than $max_restarts restarts; submit it again to go on"
  elif [ "$idle_starts" -gt "$max_idle_starts" ]; then
    write_status failed
    leave 1 "stopped: $max_idle_starts starts in a row began at $unit $first and got no further"
  fi
  # What an earlier job left says nothing about this one.
  write_status pending
}

# -- ranks -----------------------------------------------------------------------------------------

rendezvous() {
  mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  export MASTER_ADDR=${hosts[0]}
  # Below the range that the system gives out by itself.
  export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
  export NCCL_DEBUG=${NCCL_DEBUG:-WARN} PYTHONFAULTHANDLER=1
  # srun, unlike sbatch, does not take over --cpus-per-task.
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
}

step_options() {
  options=(--kill-on-bad-exit=1 --wait=60)
  [ "$SLURM_NTASKS" = 1 ] || options+=(--label)
  # On CPUs, the ranks of a node see all of the job's cores there and share them by their number.
  [ -n "${SLURM_GPUS_ON_NODE:-}" ] || ! scontrol show config | grep -q '^TaskPlugin .*affinity' ||
    options+=(--cpu-bind=none)
  [ -n "${MASKLAB_IMAGE:-}" ] || return 0
  options+=(--container-image="$MASKLAB_IMAGE" --container-workdir="$PWD")
  options+=(--container-mounts="$PWD:$PWD,$code_dir:$code_dir${MASKLAB_MOUNTS:+,$MASKLAB_MOUNTS}")
}

# Run a command on all ranks. $1: what a notice does to it, `save` or `stop`.
# Sets `code`, srun's exit code, and `notice`, the first signal that came meanwhile.
run_step() {
  local reaction=$1 name end
  read -r end < <(job_fields EndTime)
  # To `date`, no time at all is last midnight.
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
  # A rank that still imports ignores it: say it again. Never TERM, which ends the step.
  (
    trap '' USR1 USR2 TERM
    while kill -USR1 "$step_pid" 2>/dev/null; do sleep 20; done
  ) &
  resender=$!
  disown
}

# -- coming back -----------------------------------------------------------------------------------

# Fields of what Slurm knows about this job. Not from `scontrol show job`, which prints names, comments
# and paths between them: any of those can look like a field.
job_fields() {
  local format=${*/%/:32}
  SLURM_TIME_FORMAT=standard squeue --noheader --jobs="$job" --Format="${format// /,}" 2>/dev/null
}

# Why the job is ending, unless by itself: `requeued` or `cancelled`. Slurm calls both COMPLETING,
# and would requeue a job that its owner has just cancelled. One that is out of time may come back.
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

# Queue this job again, and leave. $1: what happened, in words; the rest: the script's arguments.
come_back() {
  local what=$1 next="restart $((restarts + 1)) of $max_restarts" answer fate
  shift
  fate=$(fate)
  if [ "$fate" = cancelled ]; then
    [ -z "${run_dir:-}" ] || write_status interrupted
    leave 1 "$what, cancelled: not requeued; submit it again to go on"
  fi
  [ -z "${run_dir:-}" ] || : >"$run_dir/.requeued"
  [ "$fate" != requeued ] || leave 0 "$what, requeued by Slurm ($next)"
  [ "$restarts" -lt "$max_restarts" ] ||
    leave 1 "$what; not requeued after $max_restarts restarts; submit it again to go on"
  # Once a requeue is accepted, this script is told to end.
  trap '' TERM
  ! answer=$(scontrol requeue "$job" 2>&1) || leave 0 "$what, requeued ($next)"
  say "$what; requeue refused: ${answer//$'\n'/ }"
  follow_up "$next" "$@"
}

# Where a site forbids requeueing: a new job that begins when this one is gone.
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

# A power cut shows as broken connections long before Slurm notices it.
is_node_lost() {
  [ "$SLURM_JOB_NUM_NODES" -gt 1 ] || return 1
  ! timeout 60 srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 true 2>/dev/null
}

# -- a whole job -----------------------------------------------------------------------------------

# A training command (launch/....py and its arguments) to its end, or to its next start.
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
  # What the first start began from must not take a later one back.
  [ "$restarts" = 0 ] || [ "$1" != launch/pretrain.py ] || again=(checkpoint.resume=auto)
  run_step save bash "$code_dir/launch/slurm/rank.sh" "$python" -u "$code_dir/$1" "${@:2}" "${again[@]}"
  # srun says 143 for ranks that it ended because another one failed: ask who was first.
  if [ "$code" != 0 ] && [ -s "$MASKLAB_EXIT_CODE" ]; then
    read -r first_code <"$MASKLAB_EXIT_CODE"
    # Bash would evaluate anything else as it compares or subtracts.
    [[ ! $first_code =~ ^[0-9]{1,3}$ ]] || code=$first_code
  fi
  rm -f "$MASKLAB_EXIT_CODE"
}

# What is made of the end of `run_training`; the arguments are those of the script.
finish() {
  local end step reason
  # Slurm's SIGTERM goes to every process of the job, this subshell included.
  end=$(progress) || end=$(progress)
  if [ -e "$run_dir/REQUEUE" ]; then
    read -r step reason <"$run_dir/REQUEUE"
    rm -f "$run_dir/REQUEUE"
    [ "$(mark)" != "$first_mark" ] || [ "$idle_starts" -lt "$max_idle_starts" ] ||
      leave 1 "preempted ($reason), the $idle_starts. time without progress: not requeued"
    come_back "preempted at step $step ($reason)" "$@"
  elif [ "$(read_status)" = completed ]; then
    # A rank may stumble on its way out, with everything done.
    [ "$code" = 0 ] || reason=", though a rank left with code $code"
    leave 0 "completed at $unit $end${reason:-}"
  elif [ "$code" != 0 ] && { [ "$(fate)" = requeued ] || is_node_lost; }; then
    write_status preempted
    come_back "lost a node; saved: $unit $end" "$@"
  elif [ "$code" = 0 ] && [ -n "$notice" ] && [ "$(read_status)" = pending ]; then
    # So early that it had not yet a folder to say so in.
    [ "$idle_starts" -lt "$max_idle_starts" ] ||
      leave 1 "preempted (SIG$notice), the $idle_starts. time without progress: not requeued"
    write_status preempted
    come_back "preempted before it began (SIG$notice)" "$@"
  elif [ "$code" = 0 ]; then
    leave 0 "$(read_status) at $unit $end"
  fi
  # A rank that only saw another go leaves `preempted`: with all nodes there, that was a failure.
  [[ $(read_status) != @(running|pending|preempted) ]] || write_status failed
  leave "$code" "$(read_status) after $unit $end with exit code $code$(explain)"
}

explain() { [ "$code" -ne 137 ] || echo " (killed from outside; mostly for want of memory)"; }
