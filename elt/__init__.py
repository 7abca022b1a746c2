"""From a researcher's file to rows in the warehouse, without any framework.

One file has one job: contracts (what a dataset is), reader (bytes to rows), validation (rows and
contract to rows and issues), store (objects), ledger (what happened to each upload), loader (one
transaction per load), transform (dbt), pipeline (one run of all of it).
"""

import os

# One file is read and checked by one thread beside the COPY, and files are loaded side by side. Threads of
# Polars' own would only take the processor away from the database.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
