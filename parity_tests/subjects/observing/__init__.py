"""What a subject returns, observed on one machine and judged on another.

Observing needs torch and NumPy. Every function that drives a subject is `observable`: where the subject is
under test it runs, and where a file of observations stands for the subject its answer is looked up. So the
tests of a kind of claim are the same in one process and in two, and nothing of what is expected is known
where the subject runs.
"""
