# On SQLite what is said is noted only, and a worker puts it into the index: writing there within the
# journal's transactions made them eight times as long, and its own merging held them up for a second.
# What goes is still taken out at once. Merging is the worker's too, in small steps.
from django.db import migrations

SQLITE = (
    "CREATE TABLE calls_wordsdue (id INTEGER PRIMARY KEY)",
    "INSERT INTO calls_saidwords(calls_saidwords, rank) VALUES ('automerge', 0)",
    "INSERT INTO calls_saidwords(calls_saidwords, rank) VALUES ('crisismerge', 500)",
    "DROP TRIGGER calls_turn_changed",
    "DROP TRIGGER calls_turn_dropped",
    "DROP TRIGGER calls_turn_said",
    """
    CREATE TRIGGER calls_turn_said AFTER INSERT ON calls_turn WHEN new.text != '' BEGIN
        INSERT INTO calls_wordsdue SELECT new.id
        WHERE NOT EXISTS (SELECT 1 FROM calls_wordsdue WHERE id = new.id);
    END
    """,
    """
    CREATE TRIGGER calls_turn_dropped AFTER DELETE ON calls_turn BEGIN
        DELETE FROM calls_wordsdue WHERE id = old.id;
        INSERT INTO calls_saidwords(calls_saidwords, rowid, words)
        SELECT 'delete', old.id, replace(replace(old.text, 'ß', 'ss'), 'ẞ', 'SS')
        WHERE EXISTS (SELECT 1 FROM calls_saidwords_docsize WHERE id = old.id);
        UPDATE calls_wordsleft SET erased = erased + 1;
    END
    """,
    """
    CREATE TRIGGER calls_turn_changed AFTER UPDATE OF text ON calls_turn
    WHEN new.text IS NOT old.text BEGIN
        INSERT INTO calls_saidwords(calls_saidwords, rowid, words)
        SELECT 'delete', old.id, replace(replace(old.text, 'ß', 'ss'), 'ẞ', 'SS')
        WHERE EXISTS (SELECT 1 FROM calls_saidwords_docsize WHERE id = old.id);
        INSERT INTO calls_wordsdue SELECT new.id WHERE new.text != ''
        AND NOT EXISTS (SELECT 1 FROM calls_wordsdue WHERE id = new.id);
        DELETE FROM calls_wordsdue WHERE id = new.id AND new.text = '';
        UPDATE calls_wordsleft SET erased = erased + 1 WHERE new.text = '';
    END
    """,
)


def make(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        for statement in SQLITE:
            schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("calls", "0023_call_analysis")]

    # Back is one step only: 0021 takes all of it away.
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
