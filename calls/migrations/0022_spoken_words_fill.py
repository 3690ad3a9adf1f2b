# Turns that were said before there was an index. On SQLite in small transactions; an interrupted
# run goes on, and a turn that is written meanwhile is in already. PostgreSQL builds its index
# beside the writers; what an interrupted run left of one is made again.
from django.db import migrations

STEP = 100
FILL = """
    INSERT INTO calls_saidwords(rowid, words)
    SELECT id, replace(replace(text, 'ß', 'ss'), 'ẞ', 'SS') FROM calls_turn
    WHERE id > %s AND id <= %s AND text != ''
    AND id NOT IN (SELECT id FROM calls_saidwords_docsize WHERE id > %s AND id <= %s)
"""


def fill(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        _index(schema_editor.connection)
    else:
        _rows(schema_editor.connection)


def _index(connection):
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        allowed = cursor.fetchone()[0]
        cursor.execute("SET statement_timeout = 0")
        try:
            cursor.execute("DROP INDEX CONCURRENTLY IF EXISTS turn_said_words")
            cursor.execute(
                "CREATE INDEX CONCURRENTLY turn_said_words ON calls_turn "
                "USING gin (calls_said_words(text))"
            )
        finally:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [allowed])
        cursor.execute("ANALYZE calls_turn")


def _rows(connection):
    last = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT max(id) FROM (SELECT id FROM calls_turn WHERE id > %s ORDER BY id LIMIT %s)",
                [last, STEP],
            )
            until = cursor.fetchone()[0]
            if until is None:
                return
            cursor.execute(FILL, [last, until, last, until])
            last = until


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("DROP INDEX CONCURRENTLY IF EXISTS turn_said_words")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("calls", "0021_spoken_words")]

    operations = [migrations.RunPython(fill, drop, atomic=False)]
