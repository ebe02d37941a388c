"""Text of a job of LSF, for providers of users' own on ``ClusterProvider``; Trellis's own composes its scripts.

Places to fill in: jobname, walltime, submit_script_dir, scheduler_options, worker_init and user_script.
"""

template_string = """#!/bin/bash

#BSUB -J ${jobname}
#BSUB -W ${walltime}
#BSUB -o ${submit_script_dir}/${jobname}.submit.stdout
#BSUB -e ${submit_script_dir}/${jobname}.submit.stderr
${scheduler_options}

${worker_init}

export JOBNAME="${jobname}"

${user_script}
"""
