"""Content-Security-Policy: ``'self'`` everywhere, the admin's wider one under /admin/ only."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from voiceplatform.csp_admin import AdminAwareCSPMiddleware

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def policy(response: HttpResponse) -> dict[str, str]:
    """Return the policy's directives."""
    parts = response["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


def test_the_admin_gets_what_its_scripts_need_and_no_more(client: Client) -> None:
    found = policy(client.get("/admin/login/"))
    assert found["script-src"] == "'self' 'unsafe-eval'"
    assert found["style-src"] == "'self' 'unsafe-inline'"
    assert found["default-src"] == "'self'"


@pytest.mark.parametrize("target", ["/", "/administrator", "/assistant", "/x/admin/"])
def test_everything_else_gets_self(client: Client, target: str) -> None:
    found = policy(client.get(target))
    assert found["default-src"] == "'self'"
    assert "script-src" not in found
    assert "unsafe" not in str(found)


def test_a_browser_finds_the_icon_where_an_answer_names_none(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, "/static/calls/icon.svg")
    assert finders.find("calls/icon.svg")


def test_a_views_own_policy_wins_under_admin(rf: RequestFactory) -> None:
    def view(_: HttpRequest) -> HttpResponse:
        response = HttpResponse()
        response._csp_replace = {"script-src": ["'none'"]}  # type: ignore[attr-defined]
        return response

    assert policy(AdminAwareCSPMiddleware(view)(rf.get("/admin/x/")))["script-src"] == "'none'"
