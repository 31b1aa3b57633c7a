//! Two smoltcp interfaces in one process, Ethernet between them. The wire hands buffers over: no copy of its own, and
//! no allocation once it has run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time;

use linerate_benches::workload::{CHUNK_BYTES, Contender, MTU};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

const SERVER: IpAddress = IpAddress::Ipv4(Ipv4Address::new(10, 0, 0, 2));
const PORT: u16 = 8000;

#[derive(Default)]
struct Wire {
    /// Packets under way to each host.
    to: [VecDeque<Vec<u8>>; 2],
    spare: Vec<Vec<u8>>,
}

struct End {
    wire: Rc<RefCell<Wire>>,
    host: usize,
}

struct Rx(Rc<RefCell<Wire>>, Vec<u8>);
struct Tx(Rc<RefCell<Wire>>, usize);

impl phy::RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let r = f(&self.1);
        self.0.borrow_mut().spare.push(self.1);
        r
    }
}

impl phy::TxToken for Tx {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut buffer = self.0.borrow_mut().spare.pop().unwrap_or_else(|| Vec::with_capacity(MTU + 14));
        buffer.resize(len, 0);
        let r = f(&mut buffer);
        self.0.borrow_mut().to[1 - self.1].push_back(buffer);
        r
    }
}

impl Device for End {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx;

    fn capabilities(&self) -> DeviceCapabilities {
        // Checksums stay at their default: computed and verified in software.
        let mut c = DeviceCapabilities::default();
        c.max_transmission_unit = MTU + 14;
        c.medium = Medium::Ethernet;
        c
    }

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx)> {
        let packet = self.wire.borrow_mut().to[self.host].pop_front()?;
        Some((Rx(self.wire.clone(), packet), Tx(self.wire.clone(), self.host)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx> {
        Some(Tx(self.wire.clone(), self.host))
    }
}

struct Host {
    iface: Interface,
    device: End,
    sockets: SocketSet<'static>,
}

impl Host {
    fn new(host: usize, wire: Rc<RefCell<Wire>>) -> Self {
        let mac = EthernetAddress([2, 0, 0, 0, 0, host as u8 + 1]);
        let mut device = End { wire, host };
        let mut config = Config::new(mac.into());
        config.random_seed = host as u64;
        let mut iface = Interface::new(config, &mut device, Instant::ZERO);
        iface.update_ip_addrs(|a| {
            a.push(IpCidr::new(IpAddress::v4(10, 0, 0, host as u8 + 1), 24)).expect("room for one address");
        });
        Self { iface, device, sockets: SocketSet::new(Vec::new()) }
    }

    fn socket(&mut self, buffer_bytes: usize) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut s = Socket::new(buffer(), buffer());
        s.set_nagle_enabled(false);
        self.sockets.add(s)
    }
}

pub struct Smoltcp {
    hosts: [Host; 2],
    buffer_bytes: usize,
    start: time::Instant,
    clients: Vec<SocketHandle>,
    servers: Vec<SocketHandle>,
    connects: u64,
}

impl Smoltcp {
    pub fn new(buffer_bytes: usize) -> Self {
        let wire = Rc::new(RefCell::new(Wire::default()));
        Self {
            hosts: [Host::new(0, wire.clone()), Host::new(1, wire)],
            buffer_bytes,
            start: time::Instant::now(),
            clients: Vec::new(),
            servers: Vec::new(),
            connects: 0,
        }
    }

    /// Takes in what came, and sends what there is.
    fn poll(&mut self, host: usize) {
        let now = Instant::from_micros(self.start.elapsed().as_micros() as i64);
        let h = &mut self.hosts[host];
        h.iface.poll(now, &mut h.device, &mut h.sockets);
    }

    fn listen(&mut self) -> SocketHandle {
        let handle = self.hosts[1].socket(self.buffer_bytes);
        self.hosts[1].sockets.get_mut::<Socket>(handle).listen(PORT).expect("a fresh socket");
        handle
    }

    fn connect(&mut self, handle: SocketHandle) {
        self.connects += 1;
        // All ports from 1024 on in turn, and several server ports would make no difference: there is one listener a port.
        let port = 1024 + (self.connects % 64_000) as u16;
        let h = &mut self.hosts[0];
        let s = h.sockets.get_mut::<Socket>(handle);
        s.connect(h.iface.context(), (SERVER, PORT), port).expect("a closed socket");
    }
}

fn drain(s: &mut Socket) -> u64 {
    let mut read = 0;
    while s.can_recv() {
        read += s.recv(|data| (data.len(), data.len())).expect("can receive") as u64;
    }
    read
}

impl Contender for Smoltcp {
    fn name(&self) -> &'static str {
        "smoltcp"
    }

    fn open(&mut self, conns: usize) {
        while self.clients.len() < conns {
            let from = self.clients.len();
            for _ in 0..(conns - from).min(64) {
                let server = self.listen();
                self.servers.push(server);
                let client = self.hosts[0].socket(self.buffer_bytes);
                self.connect(client);
                self.clients.push(client);
            }
            let established = |this: &mut Self| {
                (from..this.clients.len()).all(|i| {
                    this.hosts[1].sockets.get::<Socket>(this.servers[i]).state() == State::Established
                })
            };
            while !established(self) {
                self.poll(0);
                self.poll(1);
            }
        }
    }

    fn bulk(&mut self, bytes: u64) {
        static DATA: [u8; CHUNK_BYTES] = [7; CHUNK_BYTES];
        let (mut written, mut read) = (0, 0);
        while read < bytes {
            if written < bytes {
                let most = CHUNK_BYTES.min((bytes - written) as usize);
                let s = self.hosts[0].sockets.get_mut::<Socket>(self.clients[0]);
                written += s.send_slice(&DATA[..most]).expect("established") as u64;
            }
            self.poll(0);
            self.poll(1);
            read += drain(self.hosts[1].sockets.get_mut(self.servers[0]));
        }
    }

    /// smoltcp tells no events: each turn looks at the sockets that have a transaction under way.
    fn exchange(&mut self, in_flight: usize, over: usize, transactions: u64) {
        // The server's sockets by the client's: the k-th listener of a batch took the k-th SYN.
        let (mut begun, mut done) = (0u64, 0u64);
        let mut waiting: VecDeque<usize> = VecDeque::new();
        while done < transactions {
            while begun < (done + in_flight as u64).min(transactions) {
                let i = begun as usize % over;
                self.hosts[0]
                    .sockets
                    .get_mut::<Socket>(self.clients[i])
                    .send_slice(b"x")
                    .expect("established");
                waiting.push_back(i);
                begun += 1;
            }
            self.poll(0);
            self.poll(1);
            for i in &waiting {
                let s = self.hosts[1].sockets.get_mut::<Socket>(self.servers[*i]);
                for _ in 0..drain(s) {
                    s.send_slice(b"y").expect("established");
                }
            }
            self.poll(1);
            self.poll(0);
            waiting.retain(|i| {
                let n = drain(self.hosts[0].sockets.get_mut(self.clients[*i]));
                done += n;
                n == 0
            });
        }
    }

    fn connect_close(&mut self, in_flight: usize, n: u64) {
        let mut servers: Vec<SocketHandle> = (0..in_flight).map(|_| self.listen()).collect();
        let mut clients: Vec<(SocketHandle, bool)> = Vec::new();
        let (mut begun, mut done) = (0, 0);
        while done < n {
            while begun < (done + in_flight as u64).min(n) {
                let client = self.hosts[0].socket(self.buffer_bytes);
                self.connect(client);
                clients.push((client, false));
                begun += 1;
            }
            self.poll(0);
            self.poll(1);
            for server in &mut servers {
                let s = self.hosts[1].sockets.get_mut::<Socket>(*server);
                drain(s);
                if s.state() == State::CloseWait {
                    s.close();
                } else if !s.is_open() {
                    // Closed by both: the socket listens anew.
                    s.listen(PORT).expect("a closed socket");
                    done += 1;
                }
            }
            let h = &mut self.hosts[0];
            clients.retain_mut(|(client, written)| {
                let s = h.sockets.get_mut::<Socket>(*client);
                if !*written && s.may_send() {
                    s.send_slice(b"x").expect("established");
                    s.close();
                    *written = true;
                }
                if matches!(s.state(), State::TimeWait | State::Closed) {
                    // Its ACK of the FIN has left with the poll that brought it here. TIME-WAIT is forgotten: smoltcp
                    // would keep the whole socket for 10 s.
                    h.sockets.remove(*client);
                    return false;
                }
                true
            });
        }
        for server in servers {
            self.hosts[1].sockets.remove(server);
        }
    }
}
