"""Tests of the wire codec against botocore: run `pytest compat/wire` with the botocore that models/ was made from.

`-s` shows how many operations were judged. CAIRN_WIRE_ORACLE names an oracle program that is already built.
"""
