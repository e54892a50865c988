//! The system calls of NUMA memory, raw: glibc has no wrappers for them, libnuma does.
//!
//! The law: addresses in, errors out. Nothing here reads or writes through an address; the kernel
//! checks each range and refuses what is not mapped.

use std::{io, mem, ptr};

/// Words of a node mask: enough for the 1,024 nodes that Linux can have.
const MASK_WORDS: usize = 1024 / 64;

/// How many pages one question is about.
const PAGES_ASKED: usize = 1024;

/// What the kernel is told of where memory shall lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// On the node or nowhere.
    Bind,
    /// On the node while it has room.
    Prefer,
}

impl Policy {
    fn mode(self) -> libc::c_int {
        match self {
            Policy::Bind => libc::MPOL_BIND,
            Policy::Prefer => libc::MPOL_PREFERRED,
        }
    }
}

/// Bytes of a page.
pub(super) fn page_bytes() -> usize {
    // SAFETY: this name takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("Linux has pages")
}

/// Sets the policy of the calling thread, by which it allocates what it touches first.
pub(super) fn prefer_for_thread(policy: Policy, node: u32) -> io::Result<()> {
    let mask = node_mask(node)?;
    // SAFETY: the mask lives across the call and has as many bits as it is said to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            policy.mode(),
            mask.as_ptr(),
            mask_bits(),
        )
    };
    done(result)
}

/// Sets the policy of these pages; those that exist already stay. `start` is a page's.
pub(super) fn bind(start: usize, bytes: usize, policy: Policy, node: u32) -> io::Result<()> {
    let mask = node_mask(node)?;
    // SAFETY: the mask lives across the call and has as many bits as it is said to. No page
    // changes its address or contents; a range that is not mapped is refused.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            start,
            bytes,
            policy.mode(),
            mask.as_ptr(),
            mask_bits(),
            0,
        )
    };
    done(result)
}

/// Advises huge pages, or none. A kernel without them refuses, and nothing is lost by that.
pub(super) fn advise_huge_pages(start: usize, bytes: usize, huge: bool) {
    let advice = match huge {
        true => libc::MADV_HUGEPAGE,
        false => libc::MADV_NOHUGEPAGE,
    };
    // SAFETY: this advice changes neither the addresses nor the contents of any page.
    unsafe { libc::madvise(start as *mut libc::c_void, bytes, advice) };
}

/// Says of each page in turn on which node it lies; `None` when it lies on none. `start` is a
/// page's.
pub(super) fn nodes_of(
    start: usize,
    pages: usize,
    mut say: impl FnMut(Option<u32>),
) -> io::Result<()> {
    let page_bytes = page_bytes();
    let mut addresses = [0usize; PAGES_ASKED];
    let mut nodes = [0 as libc::c_int; PAGES_ASKED];
    for first in (0..pages).step_by(PAGES_ASKED) {
        let count = PAGES_ASKED.min(pages - first);
        for (index, address) in addresses[..count].iter_mut().enumerate() {
            *address = start + (first + index) * page_bytes;
        }
        // SAFETY: both arrays live across the call and hold at least `count` entries. Without a
        // list of nodes nothing is moved: the kernel looks each address up and writes where it
        // lies. Process 0 is this one.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                count,
                addresses.as_ptr(),
                ptr::null::<libc::c_int>(),
                nodes.as_mut_ptr(),
                0,
            )
        };
        done(result)?;
        for node in &nodes[..count] {
            // A negative one is an error: not mapped, or never touched.
            say(u32::try_from(*node).ok());
        }
    }
    Ok(())
}

/// Lends a page that exists, by its address and length.
pub(super) fn with_touched_page<T>(
    use_it: impl FnOnce(usize, usize) -> io::Result<T>,
) -> io::Result<T> {
    let bytes = page_bytes();
    // SAFETY: an anonymous mapping at an address that the kernel chooses overlaps no other.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was mapped above for writing.
    unsafe { page.cast::<u8>().write_volatile(1) };
    let result = use_it(page as usize, bytes);
    // SAFETY: exactly this was mapped above, and nobody was given a pointer that outlives it.
    unsafe { libc::munmap(page, bytes) };
    result
}

fn node_mask(node: u32) -> io::Result<[u64; MASK_WORDS]> {
    let mut mask = [0u64; MASK_WORDS];
    let word = mask
        .get_mut(node as usize / 64)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    *word = 1 << (node % 64);
    Ok(mask)
}

/// The kernel reads one bit less than it is told of.
fn mask_bits() -> usize {
    MASK_WORDS * mem::size_of::<u64>() * 8 + 1
}

fn done(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
