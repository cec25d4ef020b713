-- The call's recording as JSON: its file, how long it plays, what it lacks. NULL when none was begun.
ALTER TABLE calls ADD COLUMN recording TEXT;
