//! The binary `velo`.
fn main() {}
