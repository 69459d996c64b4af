"""Where results live: parquet partitions, DuckDB, PostgreSQL and exported files."""
