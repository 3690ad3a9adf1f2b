"""Parity: whether an assistant does the same here as at Vapi, measured on pairs of calls.

Pure. Owns what a call is for the comparison (``sequence``), the comparison (``differ``, ``fields``)
and what its counts mean (``bounds``, ``procedure``, ``noise``, ``measures``, ``stored``). It must
not know where calls come from or who runs them. The definitions are in docs/parity.md.
"""
