//! Velostream: streaming SQL for Kafka on a thread-per-core runtime.
