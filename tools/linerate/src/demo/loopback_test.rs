//! The kernel server under every load, over 127.0.0.1: no error, every row.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::kernel_server::{Config, KernelServer};
use super::load::{CpuProbe, ErrorKind, GRACE, Job, Load, LoadThread, Wait};
use super::rows::{Measure, ROWS};
use super::run::{Plan, Target, run};
use super::service::{ENDLESS, Ports, Service};
use super::{http, pattern};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn server() -> KernelServer {
    KernelServer::start(Config { ip: LOCAL, ports: Ports::ANY, core: None }, || Ok(())).unwrap()
}

fn open(server: &KernelServer, service: Service) -> TcpStream {
    let stream = TcpStream::connect(server.ports().at(LOCAL, service)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn job(load: Load, addr: SocketAddr) -> Job {
    Job {
        load,
        addr,
        duration: Duration::from_millis(200),
        server_cpu: None,
        stop: Arc::new(AtomicBool::new(false)),
    }
}

struct Local(&'static str, Ports, CpuProbe);

impl Target for Local {
    fn name(&self) -> &str {
        self.0
    }
    fn prepare(&self, measure: Measure) -> io::Result<SocketAddr> {
        Ok(self.1.at(LOCAL, measure.service()))
    }
    fn cpu_probe(&self) -> Option<CpuProbe> {
        Some(self.2.clone())
    }
}

#[test]
fn every_row_without_an_error() {
    let server = server();
    let client = LoadThread::start(None, || Ok(())).unwrap();
    let [a, b] = ["a", "b"].map(|name| Local(name, server.ports(), server.cpu_probe()));
    let plan = Plan { only: Vec::new(), rounds: 1, duration: Duration::from_millis(200) };
    let mut steps = 0;
    let results = run(&plan, &client, &a, &b, &Arc::new(AtomicBool::new(false)), &mut |_| steps += 1);
    assert_eq!(results.errors, [""; 0]);
    assert!(!results.partial);
    assert_eq!(results.rows.len(), ROWS.len());
    for row in &results.rows {
        assert!(row.linerate > 0.0 && row.kernel > 0.0, "{}: {row:?}", row.name);
        assert_eq!(row.errors, 0, "{}", row.name);
    }
    assert_eq!(steps, plan.steps());
    let stats = server.stop().unwrap();
    assert_eq!((stats.failed, stats.accept_failed), (0, 0), "{stats:?}");
}

#[test]
fn many_bulk_streams_and_both_ways_of_waiting() {
    let server = server();
    let loads = [
        (Load::BulkIn { conns: 5 }, Service::Sink),
        (Load::BulkOut { conns: 5 }, Service::Source),
        (Load::Rr { conns: 3, wait: Wait::Spin }, Service::Echo),
        (Load::Rr { conns: 1, wait: Wait::Sleep }, Service::Echo),
        (Load::Http { conns: 2, wait: Wait::Spin }, Service::Http),
        (Load::Conns { parallel: 3, wait: Wait::Spin }, Service::Conns),
    ];
    for (load, service) in loads {
        let outcome = job(load, server.ports().at(LOCAL, service)).run();
        assert_eq!(outcome.errors.to_string(), "", "{load:?}");
        assert!(outcome.ops + outcome.bytes > 0, "{load:?}");
    }
    assert_eq!(server.stop().unwrap().failed, 0);
}

#[test]
fn http_pipelined_in_pieces_refused_and_closed() {
    let server = server();
    let mut stream = open(&server, Service::Http);
    stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    thread::sleep(Duration::from_millis(20));
    stream
        .write_all(b"st: x\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    assert_eq!(answers, http::RESPONSE.repeat(3));
    let mut stream = open(&server, Service::Http);
    stream.write_all(b"BREW / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, http::NOT_FOUND);
}

#[test]
fn echo_returns_more_than_buffers_hold() {
    const LEN: usize = 20_000_000;
    let server = server();
    let stream = open(&server, Service::Echo);
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        for at in (0..LEN).step_by(100_000) {
            writer.write_all(pattern::slice_at(at as u64, 100_000)).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // The echo's way back fills up before anyone reads.
    thread::sleep(Duration::from_millis(100));
    let mut back = Vec::new();
    (&stream).read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(back.len(), LEN);
    assert_eq!(pattern::mismatches(0, &back), 0);
}

#[test]
fn sink_reports_count_and_wrong_bytes() {
    let server = server();
    let mut stream = open(&server, Service::Sink);
    let mut bytes = pattern::slice_at(0, 200_000).to_vec();
    bytes[150_000] ^= 0x80;
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut report = Vec::new();
    stream.read_to_end(&mut report).unwrap();
    assert_eq!(report, [200_000u64.to_be_bytes(), 1u64.to_be_bytes()].concat());
}

#[test]
fn source_sends_the_asked_length_even_to_a_half_closed_peer() {
    let server = server();
    for len in [0u64, 1, 65_521, 10_000_000] {
        let mut stream = open(&server, Service::Source);
        stream.write_all(&len.to_be_bytes()[..3]).unwrap();
        stream.write_all(&len.to_be_bytes()[3..]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, len);
        assert_eq!(pattern::mismatches(0, &bytes), 0);
    }
    let mut stream = open(&server, Service::Source);
    stream.write_all(&ENDLESS.to_be_bytes()).unwrap();
    let mut some = vec![0; 300_000];
    stream.read_exact(&mut some).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(pattern::mismatches(300_000, &rest), 0);
}

/// A server that does `what` with each connection, until the test ends.
fn bad_server(what: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || what(stream.unwrap()));
        }
    });
    addr
}

#[test]
fn a_lying_server_is_found_out() {
    fn wrong_bytes(mut stream: TcpStream) {
        let mut buf = [0; 100];
        while let Ok(1..) = stream.read(&mut buf) {
            if stream.write_all(&[0xee; 100]).is_err() {
                return;
            }
        }
    }
    let addr = bad_server(wrong_bytes);
    for load in [
        Load::Http { conns: 2, wait: Wait::Sleep },
        Load::Rr { conns: 1, wait: Wait::Spin },
        Load::Rr { conns: 2, wait: Wait::Sleep },
        Load::BulkOut { conns: 1 },
        Load::Conns { parallel: 1, wait: Wait::Sleep },
    ] {
        let outcome = job(load, addr).run();
        assert!(outcome.errors.of(ErrorKind::Mismatch) > 0, "{load:?}: {}", outcome.errors);
        assert_eq!(outcome.ops, 0, "{load:?}");
    }
}

#[test]
fn a_closing_and_a_silent_and_an_absent_server_end_in_time() {
    let closing = bad_server(drop);
    let silent = bad_server(|stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let absent = TcpListener::bind((LOCAL, 0)).unwrap().local_addr().unwrap();
    let loads = [
        Load::Http { conns: 2, wait: Wait::Sleep },
        Load::Rr { conns: 1, wait: Wait::Spin },
        Load::BulkIn { conns: 1 },
        Load::BulkOut { conns: 1 },
        Load::Conns { parallel: 2, wait: Wait::Sleep },
    ];
    // Side by side: each waits out its grace.
    let runs: Vec<_> = [closing, silent, absent]
        .into_iter()
        .flat_map(|addr| loads.map(|load| (load, addr)))
        .map(|(load, addr)| {
            thread::spawn(move || {
                let began = Instant::now();
                (load, job(load, addr).run(), began.elapsed())
            })
        })
        .collect();
    for run in runs {
        let (load, outcome, took) = run.join().unwrap();
        assert!(outcome.errors.total() > 0, "{load:?}");
        assert!(took < GRACE * 2 + Duration::from_secs(2), "{load:?} took {took:?}");
    }
}

#[test]
fn stopping_makes_the_results_partial() {
    let server = server();
    let client = LoadThread::start(None, || Ok(())).unwrap();
    let [a, b] = ["a", "b"].map(|name| Local(name, server.ports(), server.cpu_probe()));
    let stop = Arc::new(AtomicBool::new(false));
    let plan = Plan {
        only: vec!["rr_64".into(), "conns".into()],
        rounds: 100,
        duration: Duration::from_millis(100),
    };
    let mut seen = 0;
    let results = run(&plan, &client, &a, &b, &stop.clone(), &mut |_| {
        seen += 1;
        if seen == 4 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(results.partial);
    assert_eq!(results.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["rr_64"]);
}

#[test]
fn a_port_in_use_is_said_and_a_failing_before_too() {
    let taken = TcpListener::bind((LOCAL, 0)).unwrap();
    let mut ports = Ports::ANY;
    ports.set(Service::Echo, taken.local_addr().unwrap().port());
    let error = KernelServer::start(Config { ip: LOCAL, ports, core: None }, || Ok(())).err().unwrap();
    assert!(error.to_string().contains("listening on 127.0.0.1:"), "{error}");
    let no = || Err(io::Error::other("no such namespace"));
    let config = Config { ip: LOCAL, ports: Ports::ANY, core: None };
    assert!(KernelServer::start(config, no).err().unwrap().to_string().contains("no such namespace"));
    assert!(LoadThread::start(None, no).err().unwrap().to_string().contains("no such namespace"));
    assert!(LoadThread::start(Some(1000), || Ok(())).err().unwrap().to_string().contains("core 1000"));
}
