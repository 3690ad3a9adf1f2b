"""Encrypted model fields; owns how a secret is stored and nothing about who may see it.

Values are sealed with Fernet under ``settings.FIELD_ENCRYPTION_KEYS`` (newest first): the first
key seals, every key opens, so keys rotate without an outage. Encrypted columns cannot be searched
or compared in the database, on purpose.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute

if TYPE_CHECKING:
    _Text = models.TextField[str, str]
    _AnyText = models.TextField[Any, Any]
    _Binary = models.BinaryField[Any, Any]
else:
    _Text = _AnyText = models.TextField
    _Binary = models.BinaryField


class DecryptionError(Exception):
    """No configured key opens a stored value; put the lost key back into FIELD_ENCRYPTION_KEYS."""


@lru_cache(maxsize=8)
def _keyring(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured(
            "FIELD_ENCRYPTION_KEYS is empty, so no secret can be stored or read. Fix: set it to a "
            "key made by `python -c 'from cryptography.fernet import Fernet; "
            "print(Fernet.generate_key().decode())'`."
        )
    return MultiFernet([Fernet(key) for key in keys])


def seal(clear: bytes) -> bytes:
    """Return ``clear`` encrypted under the newest key."""
    return _keyring(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(clear)


def unseal(token: bytes) -> bytes:
    """Return the clear bytes of ``token``.

    Raises:
        DecryptionError: no configured key fits.
    """
    try:
        return _keyring(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(token)
    except InvalidToken as error:
        raise DecryptionError(
            "a stored secret was sealed with a key that FIELD_ENCRYPTION_KEYS no longer holds. "
            "Fix: add the old key behind the new one, comma-separated."
        ) from error


class _Sealed(str):
    """A value that is sealed already and goes to the database as it is."""


class _Unopened(str):
    """A token as the database has it, of a column that is opened when somebody reads it."""


class _OpenedLate(DeferredAttribute):
    """A column of a row whose token is opened when it is read, and not when the row is."""

    field: EncryptedJSONField

    def __get__(self, instance: models.Model | None, cls: Any = None) -> Any:
        """Return the clear value.

        Raises:
            DecryptionError: no configured key fits; the rest of the row can be read all the same.
        """
        value = super().__get__(instance, cls)
        if instance is not None and isinstance(value, _Unopened):
            value = instance.__dict__[self.field.attname] = self.field.opened(value)
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        """Take a value; without this the row's own dictionary would be asked first."""
        instance.__dict__[self.field.attname] = value


_AHEAD = "_sealed_ahead"


def seal_ahead(row: models.Model) -> None:
    """Seal the encrypted columns of ``row`` now, so that saving it costs little in a transaction.

    Texts and JSON only. A column that gets another value before it is saved is sealed then.
    """
    ahead: dict[str, tuple[Any, _Sealed]] = {}
    for field in row._meta.concrete_fields:
        if isinstance(field, EncryptedTextField | EncryptedJSONField):
            value = row.__dict__.get(field.attname)
            token = field.get_prep_value(value)
            if token:
                ahead[field.attname] = (value, _Sealed(token))
    row.__dict__[_AHEAD] = ahead


def _ahead(row: models.Model, name: str, value: Any) -> Any:
    clear, token = row.__dict__.get(_AHEAD, {}).get(name, (None, None))
    return token if token is not None and clear is value else value


class EncryptedTextField(_Text):
    """Text that is sealed at rest; the empty string stays empty, so 'is it set' needs no key."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return what was sealed ahead, if it still holds."""
        return _ahead(model_instance, self.attname, super().pre_save(model_instance, add))

    def get_prep_value(self, value: Any) -> Any:
        """Seal on the way to the database."""
        if isinstance(value, _Sealed):
            return str(value)
        value = super().get_prep_value(value)
        return value if value in (None, "") else seal(str(value).encode()).decode("ascii")

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        """Open on the way from the database."""
        return value if value in (None, "") else unseal(str(value).encode("ascii")).decode()


class EncryptedJSONField(_AnyText):
    """Any JSON value, sealed at rest. Null is stored as SQL NULL.

    With ``opens_late`` a row is loaded without opening it: for a column that few readers of the
    row need, and whose lost key must not make the row unreadable. ``values()`` gives its token.
    """

    if TYPE_CHECKING:  # django-stubs reads a field's Python types from these
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def __init__(self, *args: Any, opens_late: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opens_late = opens_late  # no matter of the schema, so in no migration
        if opens_late:
            self.descriptor_class = _OpenedLate

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return what was sealed ahead, if it still holds; what was never opened stays sealed."""
        stored = model_instance.__dict__.get(self.attname)
        if isinstance(stored, _Unopened):
            return stored
        return _ahead(model_instance, self.attname, super().pre_save(model_instance, add))

    def get_prep_value(self, value: Any) -> Any:
        """Seal the compact JSON text."""
        if value is None:
            return None
        if isinstance(value, _Sealed | _Unopened):
            return str(value)
        return seal(json.dumps(value, separators=(",", ":")).encode()).decode("ascii")

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        """Open and parse."""
        if value is None:
            return None
        return _Unopened(value) if self._opens_late else self.opened(value)

    def opened(self, token: str) -> Any:
        """Return the clear value of a token.

        Raises:
            DecryptionError: no configured key fits.
        """
        return json.loads(unseal(token.encode("ascii")))

    def to_python(self, value: Any) -> Any:
        """Leave Python values as they are; forms never edit this field."""
        return value


class EncryptedBinaryField(_Binary):
    """Bytes sealed at rest."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Seal on the way to the database."""
        sealed = None if value is None else seal(bytes(value))
        return super().get_db_prep_value(sealed, connection, prepared)

    def from_db_value(self, value: Any, *_: Any) -> bytes | None:
        """Open on the way from the database."""
        return None if value is None else unseal(bytes(value))
