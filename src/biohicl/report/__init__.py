"""What people look at: the score table, the report page, the DuckDB catalog."""
