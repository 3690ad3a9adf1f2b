"""Content-Security-Policy: ``'self'`` everywhere, what the admin's scripts need under /admin/ only.

Owns where the wider policy applies (design decision 10, stack.md row unfold: its login is unusable
without ``'unsafe-eval'``). The policy itself is in settings.
"""

from __future__ import annotations

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

ADMIN_PREFIX = "/admin/"


class AdminAwareCSPMiddleware(CSPMiddleware):
    """django-csp's middleware with a second policy for the admin's paths."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Widen the policy under /admin/ unless the view chose its own."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN_PREFIX) and parts.replace is None:
            parts.replace = settings.CONTENT_SECURITY_POLICY_ADMIN
        return parts
