//! The binary `velo`.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use velostream_shards::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

fn main() -> ExitCode {
    velostream::cli::main()
}
