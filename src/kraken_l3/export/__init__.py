"""From verified archives to research: Parquet tables and other tools' formats."""
