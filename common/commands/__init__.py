"""What every command line is made of: options, inputs, outputs, batches that resume, helper processes.

Comes in: a command line and the files it names. Goes out: whole files, a report, one line an error.
"""
