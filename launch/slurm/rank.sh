# One rank: translate Slurm's variables into PyTorch's, then run the command given as arguments.

# A signal that arrives before Python has installed its handlers must not kill it.
trap '' USR1 USR2 TERM
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=${SLURM_NTASKS_PER_NODE:-$((SLURM_NTASKS / SLURM_NNODES))}
# Compiled kernels: a home folder shared by many nodes is slow and full of locks. In a folder where everybody
# may write, one of that name may belong to another user, and its code would run as ours.
if [ -z "${TRITON_CACHE_DIR:-}" ]; then
  TRITON_CACHE_DIR=${TMPDIR:-/tmp}/masklab-triton-$UID
  mkdir -m 700 "$TRITON_CACHE_DIR" 2>/dev/null
  if [ -L "$TRITON_CACHE_DIR" ] || [ ! -O "$TRITON_CACHE_DIR" ] ||
    [ "$(stat -c %a "$TRITON_CACHE_DIR")" != 700 ]; then
    TRITON_CACHE_DIR=$(mktemp -d) && own_cache=$TRITON_CACHE_DIR || exit 1
  fi
  export TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$TRITON_CACHE_DIR/inductor}
fi
"$@"
code=$?
[ -z "${own_cache:-}" ] || rm -rf "$own_cache"
# The file keeps the first failure of all ranks.
[ "$code" = 0 ] || (set -o noclobber; echo "$code" >"$MASKLAB_EXIT_CODE") 2>/dev/null
exit "$code"
