"""By how much do the numbers differ, and who is nearer the truth? The audit: measured, certified, reported,
compared.

    collect -> record.Audit -> page, terminal, compare

`record` holds what travels between the stages, and is what audit.json holds.
"""
