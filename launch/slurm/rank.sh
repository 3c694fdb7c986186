# One rank: Slurm's names for it become those of PyTorch, then the command given as arguments.

# A notice that comes before Python has its handlers must not kill it.
trap '' USR1 USR2 TERM
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=${SLURM_NTASKS_PER_NODE:-$((SLURM_NTASKS / SLURM_NNODES))}
"$@"
code=$?
# The first failure of all ranks stays in the file.
[ "$code" = 0 ] || (set -o noclobber; echo "$code" >"$MASKLAB_EXIT_CODE") 2>/dev/null
exit "$code"
