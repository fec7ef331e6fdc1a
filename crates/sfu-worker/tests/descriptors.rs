//! Out of file descriptors. In a process of its own, for the limit holds for all of it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use rig::Rig;

const CHILD: &str = "MEESHY_TEST_DESCRIPTORS";
/// Enough for the child itself and a few connections.
const LIMIT: usize = 24;

#[test]
fn running_out_of_descriptors_neither_kills_nor_burns_the_cpu() {
    if std::env::var_os(CHILD).is_some() {
        return report_when_asked();
    }
    let test = std::env::current_exe().unwrap();
    let script = format!("ulimit -n {LIMIT}; exec {} --nocapture", test.display());
    let mut child = Process::new("sh")
        .args(["-c", &script])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = |key: &str| -> u64 {
        let found = lines.by_ref().map(Result::unwrap).find_map(|line| {
            line.split_once(key)
                .map(|(_, value)| value.trim().parse().unwrap())
        });
        found.expect("an answer of the child")
    };
    let port = answer("PORT=") as u16;
    let strangers: Vec<_> = (0..2 * LIMIT)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    assert!(strangers.len() > LIMIT);
    // Long enough that spinning would show.
    std::thread::sleep(Duration::from_millis(700));
    child.stdin.take().unwrap().write_all(b"report\n").unwrap();
    let cpu = Duration::from_nanos(answer("CPU="));
    let open = answer("OPEN=");
    assert!(child.wait().unwrap().success());
    assert!(open > 0 && open < LIMIT as u64, "{open} connections");
    assert!(cpu < Duration::from_millis(200), "{cpu:?}");
}

fn report_when_asked() {
    let mut rig = Rig::new(|_| {});
    eprintln!("child of a test, with {} descriptors", rig::descriptors());
    println!("PORT={}", rig.worker.port());
    std::io::stdin()
        .lock()
        .read_line(&mut String::new())
        .unwrap();
    let stats = rig.stats();
    println!("CPU={}", stats.cpu_ns);
    println!("OPEN={}", stats.tcp_connections);
}
