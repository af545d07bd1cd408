"""Mutation fuzzing of every parser of what a stranger's store holds.

`python -m tests.fuzz` runs it; see `tests.fuzz.__main__`. An input is a set of
files by name, made from real ones (`seeds`) by `mutation`, and known by its
parser, the seed and its number alone, so that any can be made again. `parsers`
says what is fuzzed and `watch` what counts as a finding.
"""
