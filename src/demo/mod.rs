//! The demo.
/// What the demo was asked to do.
pub struct DemoRequest {
    /// Records a second.
    pub rate: u64,
}
/// Runs it.
pub fn run(
    _: &crate::config::Config,
    _: &velostream_shards::CoreMap,
    _: &DemoRequest,
) -> crate::error::Result<()> {
    Ok(())
}
