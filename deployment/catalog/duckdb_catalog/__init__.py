"""The catalog of ontologies: a DuckDB behind HTTP."""
