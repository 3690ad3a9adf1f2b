"""Settings of the test suite: the real ones, with fixed keys and a folder of their own."""

from __future__ import annotations

import os
import tempfile

_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ.setdefault("SECRET_KEY", "test-only-" + "k" * 50)
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "dGVzdC1vbmx5LWtleS10ZXN0LW9ubHkta2V5LTAwMDA=")
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix=f"voiceplatform-test-{_worker}-")
os.environ.setdefault("PUBLIC_BASE_URL", "https://voice.example.com")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,voice.example.com,127.0.0.1,localhost")

from voiceplatform.settings import *  # noqa: E402, F403 - the environment above must come first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # speed of fixtures only
REST_REQUESTS_BURST = 1_000_000  # a test that means the limit sets its own
CALL_ANALYSIS = False  # no model stands beside most tests; those that mean it switch it on
