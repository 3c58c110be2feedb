//! EAL starts once in a process, ends with its last handle, and logs to `tracing`. This is the only test of its binary, because it
//! needs a process of its own. Needs libdpdk.

mod common;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hioload_device::Device;
use hioload_dpdk::{Eal, Error, Port, PortName, PortOptions, split_arguments};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

fn affinity() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("readable");
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    line.expect("a list").to_owned()
}

#[test]
fn eal_starts_once_in_a_process_and_ends_with_its_last_handle() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let line = common::arguments("--vdev=net_null0 --vdev=net_ring0");
    let arguments = split_arguments(&line).expect("arguments");
    let before = affinity();
    let eal = Eal::init(&arguments).expect("it starts");
    assert_eq!(
        affinity(),
        before,
        "EAL does not change the affinity of the thread"
    );
    assert!(log.text().contains("INFO dpdk: "), "{}", log.text());
    assert!(log.text().contains("EAL: "), "{}", log.text());

    let other = Eal::init(&["--no-pci".into()]).expect_err("it runs");
    assert_eq!(other, Error::Running);
    let same = Eal::init(&arguments).expect("the same one");
    assert_eq!(same.arguments(), arguments);
    drop(eal);

    // A closed port can be opened again, by its number or its name.
    for port in [PortName::Number(0), PortName::Name("net_null0".into())] {
        let options = PortOptions::new(port);
        let (port, mut queues) = Port::open(&same, &options).expect("a port");
        assert_eq!(port.info().name, "net_null0");
        let mut queue = queues.remove(0).claim().expect("a queue");
        let mut burst = hioload_device::Burst::new();
        assert_eq!(queue.rx_burst(&mut burst), 64);
        assert_eq!(queue.tx_burst(&mut burst), 64);
        drop(queue);
        drop(queues);
        let closed = port.close().expect("closed");
        assert_eq!(closed.frames_in_use, Some(0));
    }

    // A port keeps EAL running.
    let mut options = PortOptions::new(PortName::Name("net_null0".into()));
    options.queues = 2;
    options.mtu = Some(1400);
    let (port, mut queues) = Port::open(&same, &options).expect("a port");
    drop(same);
    assert_eq!(
        (queues.len(), port.mtu(), port.info().driver.as_str()),
        (2, 1400, "net_null")
    );
    assert!(port.link().expect("a link").up && !port.is_removed());
    assert!(port.offloads().rss, "{:?}", port.offloads());
    let mut queue = queues.pop().expect("two").claim().expect("a queue");
    let mut burst = hioload_device::Burst::new();
    assert_eq!(queue.rx_burst(&mut burst), 64);
    assert_eq!(queue.rx_burst(&mut burst), 0, "no room");
    assert!(port.frames_in_use() >= 64);
    assert_eq!(queue.tx_burst(&mut burst), 64);
    assert_eq!(queue.capabilities().mtu, 1400);
    let names = port.xstats().into_iter().map(|(name, _)| name);
    assert!(names.into_iter().any(|name| name == "rx_good_packets"));
    assert_eq!(port.stats().tx_frames, 64);
    queue.wait(None).expect("it is there");
    // A port with a queue in use does not close; after that, the drop of the last queue closes it.
    let error = port.close().expect_err("a queue is in use");
    assert!(matches!(error, Error::InUse(_)), "{error}");
    drop(queues);
    assert!(
        Eal::init(&arguments).is_ok(),
        "EAL runs while there is a queue"
    );
    drop(queue);

    let again = Eal::init(&arguments).expect_err("only once");
    assert_eq!(again, Error::Finished);
    assert!(!log.text().contains("still in use"), "{}", log.text());
    assert!(!log.text().contains("cleanly"), "{}", log.text());
}
