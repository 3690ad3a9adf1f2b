"""``make bench``: the platform under load beside a bridge that only copies, in one run.

Owns the harness, its judge and the page ``docs/bench.md``. Nothing of the product may import it,
and it drives the product from outside only: processes, HTTP, sockets.
"""
