//! The thread-per-core runtime of Velostream.
