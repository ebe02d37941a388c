"""Text of a job of HTCondor, for providers of users' own on ``ClusterProvider``; Trellis's own composes its scripts.

Places to fill in: job_name, nodes, requirements, job_script, input_files, environment, submit_script_dir, project and
scheduler_options.
"""

template_string = """
universe = vanilla
machine_count = ${nodes}
requirements = ${requirements}
executable = /bin/bash
arguments = ${job_script}
transfer_executable = false
transfer_input_files = ${input_files}
should_transfer_files = YES
when_to_transfer_output = ON_EXIT_OR_EVICT
environment = "${environment}"
output = ${submit_script_dir}/${job_name}.stdout
error = ${submit_script_dir}/${job_name}.stderr
+projectname = ${project}
leave_in_queue = true
${scheduler_options}

queue
"""
