//! On real pages of the machine that runs the tests, which most often has one node: node 0 is then
//! ours and node 1 is nobody's.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs, ptr};

use super::*;
use crate::alone;

/// Memory from the kernel, given back when it is dropped. A page on either side is forbidden, so that
/// the kernel lists the mapping by itself and not as a part of its neighbours.
struct Mapped(MemoryRange);

impl Mapped {
    fn pages(count: usize) -> Mapped {
        let page = kernel::page_bytes();
        let bytes = count * page;
        // SAFETY: an anonymous mapping at an address that the kernel chooses overlaps no other.
        let around = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes + 2 * page,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(around, libc::MAP_FAILED, "a few pages can be had");
        // SAFETY: the page after the first lies inside the mapping, and so do `bytes` from there.
        let start = unsafe { around.byte_add(page) };
        // SAFETY: as above; nobody uses these pages yet.
        let opened = unsafe { libc::mprotect(start, bytes, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "our own mapping can be opened");
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at zero");
        Mapped(MemoryRange { start, bytes })
    }

    fn touch(&self, pages: usize) {
        for page in 0..pages {
            // SAFETY: the page lies inside the mapping.
            unsafe {
                self.0
                    .start
                    .add(page * kernel::page_bytes())
                    .write_volatile(7)
            };
        }
    }

    /// What /proc says of this mapping, by the beginning of a line.
    fn told(&self, file: &str, line: &str) -> Option<String> {
        let text = fs::read_to_string(file).expect("Linux has /proc");
        let address = format!("{:x}", self.0.start.as_ptr() as usize);
        text.lines()
            .skip_while(|line| !line.starts_with(&address))
            .find(|found| found.starts_with(line))
            .map(str::to_owned)
    }

    fn policy(&self) -> String {
        self.told("/proc/thread-self/numa_maps", "")
            .and_then(|line| line.split(' ').nth(1).map(str::to_owned))
            .expect("the mapping is listed")
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let page = kernel::page_bytes();
        // SAFETY: this and a page on either side were mapped, and the tests keep no pointer there.
        unsafe {
            libc::munmap(
                self.0.start.as_ptr().byte_sub(page).cast(),
                self.0.bytes + 2 * page,
            )
        };
    }
}

/// The node of the page that this thread touches first.
fn own_node() -> u32 {
    let mut found = None;
    let page = Mapped::pages(1);
    page.touch(1);
    kernel::nodes_of(page.0.start.as_ptr() as usize, 1, |node| found = node)
        .expect("this host lets pages be looked up");
    found.expect("a touched page lies somewhere")
}

#[test]
fn a_bound_range_lies_on_its_node_touched_before_or_after() {
    let node = own_node();
    for (numa, policy) in [
        (Numa::Strict, format!("bind:{node}")),
        (Numa::Prefer, format!("prefer:{node}")),
        (Numa::Off, "default".to_owned()),
    ] {
        let memory = NodeMemory::new(node, numa);
        let mapped = Mapped::pages(2_500);
        mapped.touch(100);
        memory.bind(mapped.0.start, mapped.0.bytes);
        assert_eq!(mapped.policy(), policy, "{numa:?}");
        mapped.touch(2_000);
        let pages = memory.count(mapped.0.start, mapped.0.bytes);
        assert_eq!((pages.remote, memory.refused()), (0, 0), "{numa:?}");
        assert_eq!((pages.local, pages.absent), (2_000, 500), "{pages:?}");
    }
}

#[test]
fn pages_of_another_node_are_remote() {
    let page = Mapped::pages(3);
    page.touch(2);
    let elsewhere = NodeMemory::new(own_node() + 1, Numa::Prefer);
    assert_eq!(
        elsewhere.count(page.0.start, page.0.bytes),
        Pages {
            local: 0,
            remote: 2,
            absent: 1
        }
    );
}

#[test]
fn only_whole_pages_inside_the_range_are_bound_and_counted() {
    let memory = NodeMemory::new(own_node(), Numa::Strict);
    let mapped = Mapped::pages(4);
    mapped.touch(4);
    let page = kernel::page_bytes();
    // SAFETY: both addresses lie inside the mapping.
    let (second, inner) = unsafe { (mapped.0.start.add(page), mapped.0.start.add(1)) };
    memory.bind(inner, 2 * page);
    assert_eq!(mapped.policy(), "default", "the first page is not whole");
    assert_eq!(memory.count(inner, 2 * page).local, 1);
    assert_eq!(memory.count(second, 2 * page).local, 2);
    assert_eq!(memory.count(inner, page), Pages::default());
    assert_eq!(memory.count(inner, 0), Pages::default());
    memory.bind(inner, page - 1);
    assert_eq!(memory.refused(), 0, "nothing was asked of the kernel");
}

#[test]
fn large_ranges_are_offered_to_be_huge_pages() {
    let offered = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|offered| !offered.contains("[never]"));
    let memory = NodeMemory::new(own_node(), Numa::Off);
    let pages = HUGE_PAGE_BYTES / kernel::page_bytes();
    for (pages, advised) in [(pages, offered), (pages - 1, false)] {
        let mapped = Mapped::pages(pages);
        mapped.touch(pages);
        let is_advised = || {
            let flags = mapped
                .told("/proc/self/smaps", "VmFlags:")
                .expect("a mapping has flags");
            flags.split(' ').any(|flag| flag == "hg")
        };
        let offer = memory.offer_huge_pages(mapped.0.start, mapped.0.bytes);
        assert_eq!(is_advised(), advised, "{pages} pages");
        drop(offer);
        assert!(!is_advised(), "an offer that was withdrawn");
    }
}

#[test]
fn what_the_kernel_refuses_is_counted() {
    let nowhere = NodeMemory::new(1_023, Numa::Strict);
    let page = Mapped::pages(1);
    nowhere.bind(page.0.start, page.0.bytes);
    assert_eq!(nowhere.refused(), 1);
    nowhere.clone().bind(page.0.start, page.0.bytes);
    assert_eq!(nowhere.refused(), 2, "clones count together");
    NodeMemory::new(100_000, Numa::Strict).bind(page.0.start, page.0.bytes);
}

#[test]
fn a_thread_on_a_node_that_is_not_there_is_refused_when_strict_and_told_when_not() {
    std::thread::spawn(|| {
        let refused = NodeMemory::new(1_023, Numa::Strict)
            .claim_thread()
            .expect_err("there is no such node");
        assert!(!refused.is_permission());
        let text = refused.to_string();
        assert!(
            text.contains("NUMA node 1023: set_mempolicy") && text.contains("cpuset.mems"),
            "{text}"
        );
        let told = NodeMemory::new(1_023, Numa::Prefer)
            .claim_thread()
            .expect("preferred only");
        assert!(told.is_some());
        let off = NodeMemory::new(1_023, Numa::Off).claim_thread();
        assert!(matches!(off, Ok(None)));
    })
    .join()
    .expect("the thread ends");
}

#[test]
fn what_a_claimed_thread_touches_first_follows_its_policy() {
    let node = own_node();
    std::thread::spawn(move || {
        let memory = NodeMemory::new(node, Numa::Strict);
        assert!(matches!(memory.claim_thread(), Ok(None)));
        let mapped = Mapped::pages(1);
        mapped.touch(1);
        assert_eq!(mapped.policy(), format!("bind:{node}"));
        assert_eq!(memory.count(mapped.0.start, mapped.0.bytes).local, 1);
    })
    .join()
    .expect("the thread ends");
}

/// Run in processes of their own by the test below, under a policy that forbids one call.
#[test]
fn the_forbidden_call_is_told() {
    let Ok(call) = env::var("VELO_TEST_FORBIDDEN") else {
        return;
    };
    let strict = NodeMemory::new(0, Numa::Strict).claim_thread();
    let told = NodeMemory::new(0, Numa::Prefer)
        .claim_thread()
        .expect("preferred only")
        .expect("a call is forbidden");
    assert!(told.is_permission());
    let text = told.to_string();
    assert!(
        text.contains(&call) && text.contains("--cap-add SYS_NICE"),
        "{text}"
    );
    // Where pages lie is looked up, not relied on.
    assert_eq!(strict.is_err(), call != "move_pages");
    let page = Mapped::pages(1);
    page.touch(1);
    let memory = NodeMemory::new(0, Numa::Prefer);
    memory.bind(page.0.start, page.0.bytes);
    let pages = memory.count(page.0.start, page.0.bytes);
    assert_eq!(memory.refused(), u64::from(call != "set_mempolicy"));
    assert_eq!(pages.local + pages.absent, 1);
}

#[test]
fn a_container_that_forbids_a_call_is_told_of_and_run() {
    for (name, call) in [
        ("set_mempolicy", libc::SYS_set_mempolicy),
        ("mbind", libc::SYS_mbind),
        ("move_pages", libc::SYS_move_pages),
    ] {
        let mut command: Command = alone::command("memory::tests::the_forbidden_call_is_told");
        command.env("VELO_TEST_FORBIDDEN", name);
        // SAFETY: between fork and exec the closure makes two system calls and touches only its own
        // stack.
        unsafe { command.pre_exec(move || alone::forbid(call)) };
        let done = command.output().expect("the test binary starts itself");
        assert!(
            done.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&done.stdout)
        );
    }
}
