# One rank: Slurm's names for it become those of PyTorch, then the command given as arguments.

# A notice that comes before Python has its handlers must not kill it.
trap '' USR1 USR2 TERM
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=${SLURM_NTASKS_PER_NODE:-$((SLURM_NTASKS / SLURM_NNODES))}
# Compiled kernels: a home folder that many nodes share is slow and full of locks. Where everybody may
# write, a folder of that name can be another's: code from it would run as ours.
if [ -z "${TRITON_CACHE_DIR:-}" ]; then
  TRITON_CACHE_DIR=${TMPDIR:-/tmp}/masklab-triton-$UID
  mkdir -m 700 "$TRITON_CACHE_DIR" 2>/dev/null
  if [ -L "$TRITON_CACHE_DIR" ] || [ ! -O "$TRITON_CACHE_DIR" ] ||
    [ "$(stat -c %a "$TRITON_CACHE_DIR")" != 700 ]; then
    TRITON_CACHE_DIR=$(mktemp -d) && own_cache=$TRITON_CACHE_DIR || exit 1
  fi
  export TRITON_CACHE_DIR
fi
"$@"
code=$?
[ -z "${own_cache:-}" ] || rm -rf "$own_cache"
# The first failure of all ranks stays in the file.
[ "$code" = 0 ] || (set -o noclobber; echo "$code" >"$MASKLAB_EXIT_CODE") 2>/dev/null
exit "$code"
