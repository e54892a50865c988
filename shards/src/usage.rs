//! What the process has used, as the kernel counted it.

/// The most memory that this process ever held in RAM, bytes. The shared pages of its binary and libraries are in it.
pub fn peak_rss_bytes() -> u64 {
    // SAFETY: all integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage that lives across the call.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(result, 0, "the kernel counts for every process");
    // Linux counts in KiB.
    usage.ru_maxrss as u64 * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_touched_is_in_the_peak() {
        let before = peak_rss_bytes();
        let touched = vec![1u8; 64 << 20];
        assert!(std::hint::black_box(&touched).len() == 64 << 20);
        let after = peak_rss_bytes();
        assert!(after >= 64 << 20, "{after} bytes with 64 MiB in hand");
        assert!(after >= before, "a peak went down");
    }
}
