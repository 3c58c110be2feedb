//! Unused memory costs nothing. It is a test binary of its own because it reads the memory of the whole process.
#![cfg(target_os = "linux")]

use hioload_mem::{Buf, HugePages, Pool, PoolOptions};

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a VmRSS line");
    let kib: usize = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number of KiB");
    kib << 10
}

fn pool(buffers: usize, huge_pages: HugePages) -> Pool {
    Pool::new(&PoolOptions::new(buffers, 16 << 10).huge_pages(huge_pages)).expect("a pool")
}

#[test]
fn a_big_pool_costs_only_what_is_used() {
    const MIB: usize = 1 << 20;
    let start = resident();
    // 256 MiB and 16 GiB of buffers; the second has a free list of 4 MiB.
    let pools = [
        pool(16 << 10, HugePages::Off),
        pool(1 << 20, HugePages::Off),
        pool(16 << 10, HugePages::Transparent),
    ];
    assert!(
        resident() - start < MIB,
        "untouched pools cost {} bytes",
        resident() - start
    );

    // 100 buffers that are filled and reused 1000 times cost the memory of 100 buffers, and what a sanitizer adds, not 1.6 GB.
    for _ in 0..1000 {
        let mut held: Vec<Buf> = (0..100).map_while(|_| pools[1].get()).collect();
        assert_eq!(held.len(), 100);
        for buf in &mut held {
            buf.fill(1);
        }
    }
    let used = resident() - start;
    assert!(
        (1600 << 10..32 * MIB).contains(&used),
        "100 buffers of 16 KiB cost {used} bytes"
    );
}
