"""Whoever has an address that a call was given out with, and may do there what it is for.

Owns what such a holder may do and how often. Whether an address is good is its view's to say.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from calls.models import Call
from voiceplatform.base import rate_limit
from voiceplatform.base.rest import HasScope


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has an address of a call; each ``door`` that it opens has a bucket of its own."""

    call: Call
    door: str
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> uuid.UUID:
        """Return what its requests are counted by."""
        return self.call.pk


class OwnAddress(BaseAuthentication):
    """Accepts an address itself; subclasses say which is good."""

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme of the other way in."""
        return "Bearer"


class HasScopeOrAddress(BasePermission):
    """Needs the view's scope, or the address itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether whoever asks may."""
        if isinstance(request.auth, Holder):
            return True
        by_key = HasScope()
        allowed = by_key.has_permission(request, view)
        self.message = getattr(by_key, "message", None)
        return allowed


class AddressRate(BaseThrottle):
    """Takes one request from the bucket of the call whose address is used."""

    _wait_seconds = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether the bucket still held a request."""
        if isinstance(request.auth, Holder):
            self._wait_seconds = rate_limit.take(f"{request.auth.door}:{request.auth.pk}")
        return not self._wait_seconds

    def wait(self) -> float:
        """Return after how many seconds the next request is allowed."""
        return self._wait_seconds
