//! The XDP program in the kernel (BPF_PROG_TEST_RUN) decides every packet of the fuzz target `redirect` as the same source does that
//! is compiled for this machine. The target compares that with the table of docs/af_xdp.md. Needs root and clang.
#![cfg(target_os = "linux")]

mod common;

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::{fs, io};

use aya::maps::{HashMap, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use hioload_redirect_native::{Action, Host, Verdict, run};

/// The options of an input of the target, in its first byte.
const SHARED: u8 = 1;
const VLAN: u8 = 2;
const ADDRESSED: u8 = 16;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// `union bpf_attr` of BPF_PROG_TEST_RUN, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    retval: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context: [u64; 3],
    more: [u64; 4],
}

/// The host of the target's inputs, with a queue that has no socket: no socket can be bound in a test run.
fn host(options: u8) -> Host {
    let addresses: [IpAddr; 3] =
        ["10.77.0.1", "fd77::1", "10.77.0.9"].map(|ip| ip.parse().expect("an address"));
    Host {
        shared: options & SHARED != 0,
        vlan: (options & VLAN != 0).then_some(5),
        listened: addresses[..2].iter().map(|&ip| (ip, 9001).into()).collect(),
        addresses: addresses.to_vec(),
        has_socket: false,
    }
}

/// Loads the compiled program with the settings and maps of `host`.
fn load(object: &[u8], host: &Host) -> Ebpf {
    let (shared, vlan) = (u32::from(host.shared), host.vlan.map_or(0xffff, u32::from));
    let mut program = EbpfLoader::new()
        .override_global("SHARED", &shared, true)
        .override_global("VLAN", &vlan, true)
        .load(object)
        .expect("the object");
    for address in &host.addresses {
        match address {
            IpAddr::V4(v4) => {
                let map = program.map_mut("OWN4").expect("a map");
                let mut own = HashMap::<_, u32, u8>::try_from(map).expect("a hash map");
                own.insert(u32::from_ne_bytes(v4.octets()), 1, 0)
            }
            IpAddr::V6(v6) => {
                let map = program.map_mut("OWN6").expect("a map");
                let mut own = HashMap::<_, [u8; 16], u8>::try_from(map).expect("a hash map");
                own.insert(v6.octets(), 1, 0)
            }
        }
        .expect("an entry");
    }
    let map = program.map_mut("LISTENED").expect("a map");
    let mut listened = HashMap::<_, [u8; 20], u8>::try_from(map).expect("a hash map");
    for at in &host.listened {
        let address: Ipv6Addr = match at.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut key = [0; 20];
        key[..16].copy_from_slice(&address.octets());
        key[16..18].copy_from_slice(&at.port().to_be_bytes());
        listened.insert(key, 1, 0).expect("an entry");
    }
    for name in ["redirect_linear", "redirect_frags"] {
        let xdp: &mut Xdp = program
            .program_mut(name)
            .expect("a program")
            .try_into()
            .expect("XDP");
        xdp.load().expect("the verifier accepts it");
    }
    program
}

/// The action of a program on a frame.
fn test_run(program: &mut Ebpf, name: &str, frame: &[u8]) -> u32 {
    let xdp: &mut Xdp = program
        .program_mut(name)
        .expect("a program")
        .try_into()
        .expect("XDP");
    let fd = xdp.fd().expect("loaded");
    let mut attr = TestRun {
        program: fd.as_fd().as_raw_fd() as u32,
        size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads the frame and the attributes, which outlive the call, and writes into the attributes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, 10, &raw mut attr, size_of::<TestRun>()) };
    assert_eq!(
        result,
        0,
        "BPF_PROG_TEST_RUN: {}",
        io::Error::last_os_error()
    );
    attr.retval
}

fn counters(program: &Ebpf) -> Vec<u64> {
    let map = program.map("COUNTERS").expect("a map");
    let counters = PerCpuArray::<_, u64>::try_from(map).expect("an array");
    (0..Verdict::ALL.len() as u32)
        .map(|n| counters.get(&n, 0).expect("a counter").iter().sum())
        .collect()
}

/// The inputs of the target.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/redirect");
    let entries = fs::read_dir(folder).expect("the corpus");
    entries
        .map(|entry| {
            let entry = entry.expect("readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("readable"))
        })
        .collect()
}

#[test]
fn the_kernel_decides_as_the_program_on_this_machine() {
    if !common::permitted() {
        return;
    }
    let object = common::object_bytes();
    let corpus = corpus();
    let mut seen = 0;
    for options in [0, SHARED, VLAN, SHARED | VLAN] {
        let host = host(options);
        let mut program = load(&object, &host);
        // Each packet with the settings of every input: many are then of another VLAN.
        for (name, input) in &corpus {
            let mut frame = input.get(5..).unwrap_or_default().to_vec();
            // The kernel refuses frames without a whole Ethernet header.
            if frame.len() < 14 {
                continue;
            }
            if input[0] & ADDRESSED != 0 {
                frame[..6].copy_from_slice(&MAC);
            }
            // Each length as well: the end of the packet within every header.
            for len in (14..=frame.len()).rev() {
                let frame = &frame[..len];
                let (action, verdict) = run(&host, frame);
                let wanted = match action {
                    Action::Drop => 1,
                    Action::Pass => 2,
                    Action::Redirect => 4,
                };
                for variant in ["redirect_linear", "redirect_frags"] {
                    let before = counters(&program);
                    let got = test_run(&mut program, variant, frame);
                    let after = counters(&program);
                    let counted: Vec<_> = (0..after.len())
                        .filter(|&n| after[n] != before[n])
                        .collect();
                    let what = format!("{name}, {len} bytes, {variant}, {host:?}");
                    assert_eq!((got, counted), (wanted, vec![verdict as usize]), "{what}");
                    seen += 1;
                }
                // Every length of a packet for both modes is enough once.
                if options & VLAN != 0 {
                    break;
                }
            }
        }
    }
    assert!(seen > 10_000, "{seen} packets");
}
