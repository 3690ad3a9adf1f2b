"""Readers of call logs: every shape in which a call of the old stack can arrive, as one value.

Pure. Owns what a log says, and nothing of where it is stored or fetched.
"""
