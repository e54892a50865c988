//! Every test of the whole, in one binary, but for the acceptance scripts (accept.rs). Tests of one module stand beside it, in src; tests of shards in shards.

// The benchmarks, small, so that they never rot: every scenario's rows are the plain loop's at any number of shards.
mod bench;
// SQL, input and expected rows, a file a case (tests/cases/**/*.case), run at several shard counts and batch sizes.
mod cases;
// What a user types and reads: usage, configuration, topology.
mod cli;
// Dead letters over many records: each told once, with its bytes.
mod dead_letters;
// A file dealt to all shards, against one shard that reads it alone.
mod dealt;
// Seeded queries and streams against a naive model that shares no code with the engine (scripts/differential).
mod differential;
// The examples of docs/SQL.md: each gives what stands below it.
mod documented;
// When rows leave that are held back, over an input without end.
mod emission;
// What a user reads when the SQL is wrong, a pair of files an error (tests/errors).
mod errors;
// What goes wrong at run time: panics, signals, closed outputs, disks, brokers, bad records; and that nothing leaks.
mod faults;
// Hosts that forbid io_uring or locked memory.
mod hosts;
// How long things took: every record and row is in its histogram, and the job is told.
mod latency;
// Imports go one way: down the list of modules in src/lib.rs.
mod layering;
// Starting velo under a time limit, for the tests above.
mod process;
// Several queries in a file: windows chained, sources shared, over many records.
mod several;
// A running velo watched from outside: metrics, liveness, a service manager; the host it runs on.
mod watched;
