"""Pure rules and records: no disk, no network."""
