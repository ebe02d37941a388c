"""Text of a job of PBS Pro, for providers of users' own on ``ClusterProvider``; Trellis's own composes its scripts.

Places to fill in: jobname, nodes_per_block, ncpus, select_options, walltime, job_stdout_path, job_stderr_path,
scheduler_options, worker_init and user_script.
"""

template_string = """#!/bin/bash

#PBS -N ${jobname}
#PBS -S /bin/bash
#PBS -l select=${nodes_per_block}:ncpus=${ncpus}${select_options}
#PBS -l walltime=${walltime}
#PBS -o ${job_stdout_path}
#PBS -e ${job_stderr_path}
#PBS -m n
${scheduler_options}

${worker_init}

export JOBNAME="${jobname}"

${user_script}
"""
