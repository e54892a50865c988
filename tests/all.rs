//! Every test of the whole, in one binary.

// What a user types and reads: usage, configuration, topology.
mod cli;
// Imports go one way: down the list of modules in src/lib.rs.
mod layering;
