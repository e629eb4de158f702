-- Run once, when the database server makes its data directory: a role and a database each for MLflow and Prefect, whose
-- passwords come from files, so that none stands in the environment, on a command line or in the log.
\set mlflow_password `cat /run/flywheel/mlflow_database_password`
\set prefect_password `cat /run/flywheel/prefect_database_password`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE prefect OWNER prefect;
-- Each role into its own database only.
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
