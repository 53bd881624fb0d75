# What differs from site to site, and nothing else. Source it before sbatch; the jobs source it again.

# Where this checkout is. The Python that has the package (here: that of `make demo`).
DECOMP=${DECOMP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
PYTHON=${PYTHON:-$DECOMP/.venv/bin/python}
export DECOMP PYTHON PYTHONPATH=$DECOMP${PYTHONPATH:+:$PYTHONPATH}

# Account and partition, as sbatch reads them from the environment.
# export SBATCH_ACCOUNT=... SBATCH_PARTITION=...

# The cluster's own MPI (installed with `make demo MPI=cluster`):
# module load openmpi
# LAUNCH="srun --mpi=pmix"

# The wheel of MPICH. By way of UCX it sends Slurm's pmi2 lines that are now and then too long for it.
LAUNCH=${LAUNCH:-"srun --mpi=pmi2"}
export LAUNCH MPIR_CVAR_CH4_NETMOD=${MPIR_CVAR_CH4_NETMOD:-ofi}

# One thread a rank. Compiled kernels are cached where all nodes find them.
export OMP_NUM_THREADS=1
