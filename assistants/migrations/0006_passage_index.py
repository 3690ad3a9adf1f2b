# The index of passages, of each database in its own way; no model knows it. On SQLite a later
# migration that makes the table of passages anew loses the triggers and has to make them again.
from django.db import migrations

POSTGRESQL = (
    """
    ALTER TABLE assistants_filepassage ADD COLUMN search tsvector
    GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED
    """,
    "CREATE INDEX file_passage_search ON assistants_filepassage USING gin (search)",
)
# Words are folded already, so the tokenizer has only to split at spaces.
SQLITE = (
    """
    CREATE VIRTUAL TABLE assistants_passageindex USING fts5(
        file_id, words, content='assistants_filepassage', content_rowid='id', tokenize='ascii'
    )
    """,
    """
    CREATE TRIGGER assistants_passage_added AFTER INSERT ON assistants_filepassage BEGIN
        INSERT INTO assistants_passageindex(rowid, file_id, words)
        VALUES (new.id, new.file_id, new.words);
    END
    """,
    """
    CREATE TRIGGER assistants_passage_dropped AFTER DELETE ON assistants_filepassage BEGIN
        INSERT INTO assistants_passageindex(assistants_passageindex, rowid, file_id, words)
        VALUES ('delete', old.id, old.file_id, old.words);
    END
    """,
    """
    CREATE TRIGGER assistants_passage_changed AFTER UPDATE OF file_id, words
    ON assistants_filepassage BEGIN
        INSERT INTO assistants_passageindex(assistants_passageindex, rowid, file_id, words)
        VALUES ('delete', old.id, old.file_id, old.words);
        INSERT INTO assistants_passageindex(rowid, file_id, words)
        VALUES (new.id, new.file_id, new.words);
    END
    """,
)
SQLITE_BACK = (
    "DROP TRIGGER assistants_passage_changed",
    "DROP TRIGGER assistants_passage_dropped",
    "DROP TRIGGER assistants_passage_added",
    "DROP TABLE assistants_passageindex",
)
POSTGRESQL_BACK = ("ALTER TABLE assistants_filepassage DROP COLUMN search",)


def make(apps, schema_editor):
    _run(schema_editor, POSTGRESQL, SQLITE)


def drop(apps, schema_editor):
    _run(schema_editor, POSTGRESQL_BACK, SQLITE_BACK)


def _run(schema_editor, postgresql, sqlite):
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in postgresql if is_postgresql else sqlite:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("assistants", "0005_file_readings")]

    operations = [migrations.RunPython(make, drop)]
