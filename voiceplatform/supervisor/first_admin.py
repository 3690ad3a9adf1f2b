"""The first administrator of an embedded instance, so that a fresh one can be signed in to.

Owns one account, ``admin``, made only when nobody can sign in as superuser yet. Its password is
stored once under ``VAR_DIR/keys`` and shown once.
"""

from __future__ import annotations

import secrets
from pathlib import Path

USER_NAME = "admin"
PASSWORD_FILE = "admin_password"  # noqa: S105 - a file's name


def first_admin(var_dir: Path) -> str | None:
    """Create ``admin`` unless a superuser exists; return the new password, None otherwise.

    The password is stored before the account exists, so a kill in between loses neither: the next
    call makes the account with the stored password.
    """
    from django.contrib.auth import get_user_model

    from voiceplatform.supervisor.folders import keys_folder, write_whole

    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    path = keys_folder(var_dir) / PASSWORD_FILE
    write_whole(path, secrets.token_urlsafe(15) + "\n")
    password = path.read_text(encoding="ascii").strip()
    user, _ = users.get_or_create(username=USER_NAME)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return password
