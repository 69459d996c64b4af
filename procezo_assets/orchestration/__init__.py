"""Flows as Dagster assets: the only part of the package that imports Dagster.

What belongs here: definitions, metadata, checks, and launching runs. What does not: anything about
frames, files or databases, which `runs.py` and the modules below it do.
"""
