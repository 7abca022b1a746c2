"""Building the marts with dbt from what the loads changed."""
