"""Text of a job of Torque, for providers of users' own on ``ClusterProvider``; Trellis's own composes its scripts.

Places to fill in: jobname, nodes_per_block, tasks_per_node, walltime, submit_script_dir, scheduler_options, worker_init
and user_script.
"""

template_string = """#!/bin/bash

#PBS -N ${jobname}
#PBS -S /bin/bash
#PBS -l nodes=${nodes_per_block}:ppn=${tasks_per_node}
#PBS -l walltime=${walltime}
#PBS -o ${submit_script_dir}/${jobname}.submit.stdout
#PBS -e ${submit_script_dir}/${jobname}.submit.stderr
#PBS -m n
${scheduler_options}

${worker_init}

export JOBNAME="${jobname}"

${user_script}
"""
