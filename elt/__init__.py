"""From a researcher's file to rows in the warehouse, without any framework.

One file has one job: contracts (what a dataset is), reader (bytes to rows), validation (rows and
contract to rows and issues), store (objects), ledger (what happened to each upload), loader (one
transaction per load), transform (dbt), pipeline (one run of all of it).
"""
