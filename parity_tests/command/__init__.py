"""The command ``torch-loss-parity``: what the suite can be asked for, from a shell.

Nothing heavy is imported before a subcommand runs: help and the completion of a shell answer at once.
"""
