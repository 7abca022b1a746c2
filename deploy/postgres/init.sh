#!/bin/sh
# Runs once, when a server's volume is new: the database, and its owner, who is no superuser but may make roles
# and, for the daily test of a backup, a database to restore it into.
set -eu

psql --no-password --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set role="$LAUREL_ROLE" --set database="$LAUREL_DATABASE" <<'SQL'
\set password `cat "/run/secrets/$LAUREL_ROLE"`
create role :"role" login createrole createdb password :'password';
create database :"database" owner :"role";
SQL
