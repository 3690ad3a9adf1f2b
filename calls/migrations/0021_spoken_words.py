# An index over what was said in turns, of each database in its own way; no model knows it. The
# database keeps it in step, so no code can forget to. On SQLite a later migration that makes the
# table of turns anew loses the triggers and has to make them again.
from django.db import migrations

# One answer for all locales but for case outside of Latin letters, which is the locale's; no
# extension. What is left are words with spaces between them, so the parser has nothing to guess.
# The bounds keep a text below what a tsvector may hold. Its SET keeps the function from being
# inlined, so that its price is known to the planner.
POSTGRESQL = (
    r"""
    CREATE FUNCTION calls_said_words(said text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 2000
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT to_tsvector('pg_catalog.simple'::regconfig, regexp_replace(
        regexp_replace(
            left(lower(normalize(
                replace(replace(left(said, 100000), 'ß', 'ss'), 'ẞ', 'SS'), NFKD
            )), 100000),
            '[\u0300-\u036f]+', '', 'g'
        ),
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u00d7\u00f7\u2000-\u206f'
        '\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u30fb]+', ' ', 'g'
    ))
    $$
    """,
)
POSTGRESQL_BACK = ("DROP FUNCTION calls_said_words(text)",)
# It holds no text of its own, so it has to be told what to forget; it knows by `docsize` which
# turns are in. Words that were forgotten stay in its pages until those are merged: `wordsleft`
# counts what was erased, and up to which count its words are gone.
SQLITE = (
    """
    CREATE VIRTUAL TABLE calls_saidwords USING fts5(
        words, content='', tokenize="unicode61 remove_diacritics 2"
    )
    """,
    "CREATE TABLE calls_wordsleft (erased INTEGER NOT NULL, merged INTEGER NOT NULL)",
    "INSERT INTO calls_wordsleft VALUES (0, 0)",
    """
    CREATE TRIGGER calls_turn_said AFTER INSERT ON calls_turn WHEN new.text != '' BEGIN
        INSERT INTO calls_saidwords(rowid, words)
        VALUES (new.id, replace(replace(new.text, 'ß', 'ss'), 'ẞ', 'SS'));
    END
    """,
    """
    CREATE TRIGGER calls_turn_dropped AFTER DELETE ON calls_turn
    WHEN EXISTS (SELECT 1 FROM calls_saidwords_docsize WHERE id = old.id) BEGIN
        INSERT INTO calls_saidwords(calls_saidwords, rowid, words)
        VALUES ('delete', old.id, replace(replace(old.text, 'ß', 'ss'), 'ẞ', 'SS'));
        UPDATE calls_wordsleft SET erased = erased + 1;
    END
    """,
    """
    CREATE TRIGGER calls_turn_changed AFTER UPDATE OF text ON calls_turn
    WHEN new.text IS NOT old.text BEGIN
        INSERT INTO calls_saidwords(calls_saidwords, rowid, words)
        SELECT 'delete', old.id, replace(replace(old.text, 'ß', 'ss'), 'ẞ', 'SS')
        WHERE EXISTS (SELECT 1 FROM calls_saidwords_docsize WHERE id = old.id);
        INSERT INTO calls_saidwords(rowid, words)
        SELECT new.id, replace(replace(new.text, 'ß', 'ss'), 'ẞ', 'SS') WHERE new.text != '';
        UPDATE calls_wordsleft SET erased = erased + 1 WHERE new.text = '';
    END
    """,
)
SQLITE_BACK = (
    "DROP TRIGGER calls_turn_changed",
    "DROP TRIGGER calls_turn_dropped",
    "DROP TRIGGER calls_turn_said",
    "DROP TABLE calls_wordsleft",
    "DROP TABLE calls_saidwords",
)


def make(apps, schema_editor):
    _run(schema_editor, POSTGRESQL, SQLITE)


def drop(apps, schema_editor):
    _run(schema_editor, POSTGRESQL_BACK, SQLITE_BACK)


def _run(schema_editor, postgresql, sqlite):
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in postgresql if is_postgresql else sqlite:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("calls", "0020_asked_consent")]

    operations = [migrations.RunPython(make, drop)]
