-- How the call sounded, as JSON: round trip, loss, jitter and MOS each way. NULL when nothing was heard or said.
ALTER TABLE calls ADD COLUMN quality TEXT;
