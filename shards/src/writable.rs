//! Whether a descriptor takes bytes now.
//!
//! Law: one look, which waits no longer than it was told. A descriptor on which writing fails counts as writable: the write
//! then says why.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits up to `wait` until `descriptor` takes bytes; whether it does.
pub fn wait_writable(descriptor: BorrowedFd<'_>, wait: Duration) -> bool {
    let mut asked = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    let milliseconds = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `asked` is one valid pollfd that lives across the call, and its descriptor is open while it is borrowed.
    let found = unsafe { libc::poll(&mut asked, 1, milliseconds) };
    // Interrupted by a signal: the caller looks at its signals, and asks again.
    found > 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_full_pipe_takes_nothing_until_it_is_read_and_one_without_a_reader_says_so_by_the_write() {
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut written = 0;
        while wait_writable(writer.as_fd(), Duration::ZERO) {
            written += writer.write(&[7; 4096]).expect("there is room");
        }
        assert!(written >= 4096 && !wait_writable(writer.as_fd(), Duration::from_millis(1)));
        let mut taken = vec![0; 2 * 4096];
        reader.read_exact(&mut taken).expect("it was written");
        assert!(wait_writable(writer.as_fd(), Duration::ZERO));
        drop(reader);
        assert!(wait_writable(writer.as_fd(), Duration::ZERO));
        assert!(writer.write(&[7]).is_err());
    }
}
