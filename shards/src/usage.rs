//! What the process and its threads have used, as the kernel counted it.

use crate::clock;

/// CPU time of the calling thread so far, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock::thread_cpu_ns()
}

/// CPU time of all threads of the process so far, nanoseconds; those that have ended are in it.
pub fn process_cpu_ns() -> u64 {
    clock::process_cpu_ns()
}

/// The most memory that this process ever held in RAM, bytes. The shared pages of its binary and libraries are in it, what
/// the process held before it became this program is not: `getrusage` counts that too, which makes every child of a large
/// process look as large.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("the kernel counts for every process") * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_work_is_in_its_own_time_and_in_the_processs() {
        let (own, all) = (thread_cpu_ns(), process_cpu_ns());
        let other = std::thread::spawn(|| {
            let begun = thread_cpu_ns();
            while thread_cpu_ns() - begun < 20_000_000 {}
        });
        other.join().expect("it only counts");
        assert!(process_cpu_ns() - all >= 20_000_000);
        assert!(
            thread_cpu_ns() - own < 20_000_000,
            "another's time is not ours"
        );
    }

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
