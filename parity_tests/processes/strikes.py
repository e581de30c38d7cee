"""How often something may end a process, or keep it for good, before it is not tried again."""

# What is under test: it is expected to fail, each time costs the limit, and a report names what is not run.
STRIKES = 2
# The project's own work, and the end of the run: a worker may also be killed for memory that others took. As
# many as a scheduler of Dask allows.
STRIKES_OF_WORKERS = 3
