"""Spares every test what Django and WhiteNoise would do for each anew; owns no test's own doings.

Django's ``flush`` would empty the content types and permissions too and make them anew, model by
model, and truncate every table of PostgreSQL, which writes new files for each: several times the
processor time of all else that such a test does. WhiteNoise looks at every static file for every
test client. That client keeps a copy of the context of each of the hundred templates of a page.
"""

from __future__ import annotations

import functools
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.template import Context, Template
from django.test import TransactionTestCase
from django.test.signals import template_rendered
from whitenoise.middleware import WhiteNoiseMiddleware

# What ``migrate`` makes from our models, which no test changes.
KEPT = {"django_content_type", "auth_permission"}
# Parts of a page, whose contexts are the page's own and no test's business.
PARTS = ("unfold/", "django/forms/")


def empty_instead_of_flush() -> None:
    """Have every transactional test leave the database by ``_empty_databases``."""
    TransactionTestCase._fixture_teardown = _empty_databases  # type: ignore[method-assign]


def _empty_databases(case: Any) -> None:
    assert case.available_apps is None
    assert not case.serialized_rollback
    for alias in case._databases_names(include_mirrors=False):
        _empty(connections[alias])


def _empty(connection: BaseDatabaseWrapper) -> None:
    """Delete every row but the kept ones, and bring the default organisation back."""
    from voiceplatform.base.models import DEFAULT_ORGANISATION_ID, Organisation

    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Rows are gone from both ends of a foreign key at the commit.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(";".join(_deletions(connection.alias)))
        else:
            for statement in _deletions(connection.alias):
                cursor.execute(statement)
        Organisation.objects.using(connection.alias).create(
            id=DEFAULT_ORGANISATION_ID, name="Default"
        )


@functools.cache
def _deletions(alias: str) -> tuple[str, ...]:
    connection = connections[alias]
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    quote = connection.ops.quote_name
    return tuple(f"DELETE FROM {quote(name)}" for name in sorted(set(tables) - KEPT))  # noqa: S608 - names of our tables


def look_for_static_files_once() -> None:
    """Let every WhiteNoise after the first of this process have what the first one found."""
    look = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[str, dict[str, Any]] = {}

    def known(self: Any) -> None:
        if self.static_prefix not in found:
            before = dict(self.files)
            look(self)
            found[self.static_prefix] = {
                url: file for url, file in self.files.items() if before.get(url) is not file
            }
        self.files.update(found[self.static_prefix])

    WhiteNoiseMiddleware.add_files_from_finders = known


def keep_contexts_of_pages() -> None:
    """Tell test clients of every template but the parts that the admin's pages are made of.

    Django's test environment must stand already; it puts the real method back.
    """
    Template._render = _rendered


def _rendered(template: Template, context: Context) -> Any:
    if not str(template.name).startswith(PARTS):
        template_rendered.send(sender=template, template=template, context=context)
    return template.nodelist.render(context)
