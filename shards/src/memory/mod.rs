//! A shard's memory: kept on the NUMA node of its core, and looked up again.
//!
//! ```text
//!   thread starts ── policy of the thread ──> what it touches first lies on its node
//!   arena grows   ── bind(range) ───────────> the policy of the range, before it is touched
//!   it is touched ── offer_huge_pages(range) > 2 MiB and more: the kernel makes huge pages of them, on its own time
//!   shard ends    ── count(ranges) ─────────> local | remote | absent, asked of the kernel page by page
//! ```
//!
//! The law: nobody believes a binding that was not looked up. The calls are made on a machine of one
//! node as well, so that no path is first walked on the machine that needs it. What the kernel
//! refuses is counted and never a panic; under [`Numa::Strict`] a refusal at the start ends the
//! start.
//!
//! Not here: allocation. Memory is bound after it was obtained from the allocator. What is given
//! back to the allocator keeps its binding, so what binds must be what reuses.

mod kernel;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use kernel::Policy;

/// Ranges of at least this many bytes are advised to be huge pages, and one page of them is this
/// large on the machines that matter.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// How firmly a shard's memory is kept on its NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numa {
    /// Nowhere else: an allocation that does not fit fails, a host that forbids it is refused.
    Strict,
    /// There as long as there is room; what the host forbids is counted.
    Prefer,
    /// Wherever the kernel puts it. Pages are still counted.
    Off,
}

/// A stretch of memory that holds state of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// Its first byte.
    pub start: NonNull<u8>,
    /// Its length.
    pub bytes: usize,
}

/// Whole pages of a range, by where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// On the shard's node.
    pub local: u64,
    /// On another node.
    pub remote: u64,
    /// Nowhere: never touched, or not to be asked about.
    pub absent: u64,
}

impl Pages {
    /// Adds the pages of another range.
    pub fn add(&mut self, other: Pages) {
        self.local += other.local;
        self.remote += other.remote;
        self.absent += other.absent;
    }
}

/// Binds memory to the node of one shard. Clones count together; it stays on the shard's thread.
#[derive(Clone, Debug)]
pub struct NodeMemory {
    node: u32,
    numa: Numa,
    refused: Rc<Cell<u64>>,
}

impl NodeMemory {
    /// For a shard on this node, by the operating system's index.
    pub fn new(node: u32, numa: Numa) -> NodeMemory {
        NodeMemory {
            node,
            numa,
            refused: Rc::new(Cell::new(0)),
        }
    }

    /// Binds every page that lies wholly inside the range to the node. Those that exist already
    /// stay where they are: the shard's thread touched them, by its own policy, and moving waits for
    /// every other cpu (0.1 ms on an idle machine, 4 ms on a busy one). A system call: for memory
    /// obtained in large pieces and kept. A refusal is counted.
    ///
    /// Harmless for any range, also one that is not mapped: the kernel refuses that.
    pub fn bind(&self, start: NonNull<u8>, bytes: usize) {
        let pages = WholePages::inside(start, bytes);
        if pages.count == 0 {
            return;
        }
        if let Some(policy) = self.policy()
            && kernel::bind(pages.start, pages.bytes(), policy, self.node).is_err()
        {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// Offers the range, which has been touched, to be made of huge pages, whatever the policy, if it
    /// has 2 MiB or more. The kernel does so in the background. Before the first touch it would clear a
    /// whole huge page in the turn that touches it, which was measured at 4.5 ms where a host takes
    /// back what its guest has freed (docs/decisions/0012).
    ///
    /// The offer stands as long as what is returned: to be dropped before the memory goes back to the
    /// allocator, whose next owner would touch huge pages first.
    pub fn offer_huge_pages(&self, start: NonNull<u8>, bytes: usize) -> HugePageOffer {
        let pages = WholePages::inside(start, bytes);
        if pages.bytes() >= HUGE_PAGE_BYTES {
            kernel::advise_huge_pages(pages.start, pages.bytes(), true);
        }
        HugePageOffer(pages)
    }

    /// Asks the kernel where every page lies that is wholly inside the range. All are absent when it
    /// refuses to say, which is counted.
    pub fn count(&self, start: NonNull<u8>, bytes: usize) -> Pages {
        let whole = WholePages::inside(start, bytes);
        let mut pages = Pages::default();
        let asked = kernel::nodes_of(whole.start, whole.count, |node| match node {
            Some(node) if node == self.node => pages.local += 1,
            Some(_) => pages.remote += 1,
            None => pages.absent += 1,
        });
        if asked.is_err() {
            self.refused.set(self.refused.get() + 1);
        }
        pages.absent = whole.count as u64 - pages.local - pages.remote;
        pages
    }

    /// How often the kernel refused to bind or to say where pages lie.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Lets the calling thread's memory come from the node, and tries on one page whether memory can
    /// be bound and counted. Called before the thread allocates. Says what is refused, if anything.
    pub(crate) fn claim_thread(&self) -> Result<Option<MemoryRefusal>, MemoryRefusal> {
        let Some(policy) = self.policy() else {
            return Ok(None);
        };
        let refusal = |call| {
            move |source| MemoryRefusal {
                node: self.node,
                call,
                source,
            }
        };
        let bound = kernel::prefer_for_thread(policy, self.node)
            .map_err(refusal("set_mempolicy"))
            .and_then(|()| {
                kernel::with_touched_page(|page, bytes| {
                    kernel::bind(page, bytes, policy, self.node)
                })
                .map_err(refusal("mbind"))
            });
        match (bound, self.numa) {
            (Ok(()), _) => {
                Ok(
                    kernel::with_touched_page(|page, _| kernel::nodes_of(page, 1, |_| {}))
                        .map_err(refusal("move_pages"))
                        .err(),
                )
            }
            (Err(refusal), Numa::Strict) => Err(refusal),
            (Err(refusal), _) => Ok(Some(refusal)),
        }
    }

    fn policy(&self) -> Option<Policy> {
        match self.numa {
            Numa::Strict => Some(Policy::Bind),
            Numa::Prefer => Some(Policy::Prefer),
            Numa::Off => None,
        }
    }
}

/// Memory that may be made of huge pages, until this is dropped.
#[derive(Debug)]
#[must_use = "dropped at once it offers nothing"]
pub struct HugePageOffer(WholePages);

impl Drop for HugePageOffer {
    fn drop(&mut self) {
        if self.0.bytes() >= HUGE_PAGE_BYTES {
            kernel::advise_huge_pages(self.0.start, self.0.bytes(), false);
        }
    }
}

/// The pages that lie wholly inside a range.
#[derive(Debug)]
struct WholePages {
    start: usize,
    count: usize,
    page_bytes: usize,
}

impl WholePages {
    fn inside(start: NonNull<u8>, bytes: usize) -> WholePages {
        let page_bytes = kernel::page_bytes();
        let address = start.as_ptr() as usize;
        let first = address.next_multiple_of(page_bytes);
        let end = (address + bytes) / page_bytes * page_bytes;
        WholePages {
            start: first,
            count: end.saturating_sub(first) / page_bytes,
            page_bytes,
        }
    }

    fn bytes(&self) -> usize {
        self.count * self.page_bytes
    }
}

/// What the kernel refuses of keeping memory on a node, and what to do about it.
#[derive(Debug)]
pub struct MemoryRefusal {
    node: u32,
    call: &'static str,
    source: io::Error,
}

impl MemoryRefusal {
    /// Whether the remedy is a permission that the host withholds.
    pub fn is_permission(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EPERM | libc::EACCES))
    }
}

impl fmt::Display for MemoryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryRefusal { node, call, source } = self;
        match *call {
            "move_pages" => write!(
                f,
                "where memory lies cannot be looked up: move_pages: {source}"
            )?,
            call => write!(
                f,
                "memory cannot be kept on NUMA node {node}: {call}: {source}"
            )?,
        }
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => write!(
                f,
                ". A seccomp policy forbids it, as most container runtimes do by default. Allow it: `docker run --cap-add \
                 SYS_NICE` (for move_pages a profile that lists it), or set shards.numa = \"off\""
            ),
            Some(libc::ENOSYS) => write!(
                f,
                ". This kernel has no such call (CONFIG_NUMA, CONFIG_MIGRATION): set shards.numa = \"off\""
            ),
            Some(libc::EINVAL) => write!(
                f,
                ". The node is not among those of this process: widen cpuset.mems, list cpus of another node in shards.cores, \
                 or set shards.numa = \"off\""
            ),
            _ => write!(f, ". To do without, set shards.numa = \"off\""),
        }
    }
}

impl std::error::Error for MemoryRefusal {}

#[cfg(test)]
mod tests;
