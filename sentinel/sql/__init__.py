"""What was collected, as tables of DuckDB: archive and journal as one. A query opens no file that it does not need."""
