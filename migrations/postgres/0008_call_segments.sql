-- What the call was made of, as JSON: [what, who, began at ms, ms] for each stretch, without a gap. NULL for calls that nobody was called for.
ALTER TABLE calls ADD COLUMN segments TEXT;
