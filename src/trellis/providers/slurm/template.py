"""Text of a job of Slurm, for providers of users' own on ``ClusterProvider``; Trellis's own composes its scripts.

Places to fill in: jobname, nodes, tasks_per_node, walltime, job_stdout_path, job_stderr_path, scheduler_options,
worker_init and user_script.
"""

template_string = """#!/bin/bash

#SBATCH -J ${jobname}
#SBATCH -N ${nodes}
#SBATCH --ntasks-per-node=${tasks_per_node}
#SBATCH -t ${walltime}
#SBATCH -o ${job_stdout_path}
#SBATCH -e ${job_stderr_path}
${scheduler_options}

${worker_init}

export JOBNAME="${jobname}"

${user_script}
"""
