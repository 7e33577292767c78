//! A TCP proxy that breaks connections on demand, between a client and PostgreSQL or any other server.
//!
//! | control | what the two sides see |
//! | --- | --- |
//! | [`Proxy::pass`] | everything is forwarded; bytes that were held back arrive |
//! | [`Proxy::stop`] | packets are dropped: connections stay open without traffic |
//! | [`Proxy::stop_after`] | the same, after a given number of further bytes |
//! | [`Proxy::reset`] | every connection ends with RST |
//! | [`Proxy::reset_after`] | the same, after a given number of further bytes |
//! | [`Proxy::refuse`] | every connection ends with RST, and new ones are refused |
//! | [`Proxy::strand`] | open connections stay open, but carry no traffic any more |
//! | [`Proxy::lose_commit_reply`] | the server commits, and the client gets no reply |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

use Direction::{ToClient, ToServer};

/// The fault that follows after a limit of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stop,
    Reset,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    direction: Direction,
    left: u64,
    then: Then,
}

#[derive(Debug, Default)]
struct Control {
    stopped_to_server: bool,
    stopped_to_client: bool,
    refusing: bool,
    /// Increases with every reset. A connection that sees it increase ends.
    resets: u64,
    limit: Option<Limit>,
    /// Connections with a lower number are stranded.
    first_alive: u64,
    connections: u64,
    /// The number of COMMITs until the one whose reply is dropped.
    losing_commit_reply: Option<u64>,
    /// The number of limits reached and replies dropped so far.
    faults: u64,
    forwarded_to_server: u64,
    forwarded_to_client: u64,
}

impl Control {
    fn moves(&self, direction: Direction, connection: u64) -> bool {
        let stopped = match direction {
            ToServer => self.stopped_to_server,
            ToClient => self.stopped_to_client,
        };
        !stopped && connection >= self.first_alive
    }

    /// Counts a COMMIT. Returns true when its reply must be dropped.
    fn count_commit(&mut self) -> bool {
        let number = self.losing_commit_reply.take().map(|number| number.saturating_sub(1));
        self.losing_commit_reply = number.filter(|number| *number > 0);
        number == Some(0)
    }

    /// How many of `count` bytes may be forwarded now. When they reach the limit, the fault is triggered.
    fn take(&mut self, direction: Direction, count: usize) -> usize {
        let allowed = match &mut self.limit {
            Some(limit) if limit.direction == direction => {
                let allowed = count.min(usize::try_from(limit.left).unwrap_or(usize::MAX));
                limit.left -= allowed as u64;
                allowed
            }
            _ => count,
        };
        match direction {
            ToServer => self.forwarded_to_server += allowed as u64,
            ToClient => self.forwarded_to_client += allowed as u64,
        }
        if let Some(Limit { left: 0, then, .. }) = self.limit {
            self.limit = None;
            self.faults += 1;
            match then {
                Then::Stop => (self.stopped_to_server, self.stopped_to_client) = (true, true),
                Then::Reset => self.resets += 1,
            }
        }
        allowed
    }
}

/// A proxy on its own port. It ends with its connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    control: Arc<watch::Sender<Control>>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free loopback port for connections to `target`, a port of this machine.
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let control = Arc::new(watch::Sender::new(Control::default()));
        let server = tokio::spawn(serve(listener, address, target, Arc::clone(&control)));
        Proxy { address, control, server }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces `127.0.0.1:<port>` in `url` with this proxy's address.
    pub fn instead_of(&self, port: u16, url: &str) -> String {
        let (old, new) = (format!("127.0.0.1:{port}"), self.address.to_string());
        assert!(url.contains(&old), "the address is not {old}");
        url.replace(&old, &new)
    }

    /// Forwards everything, accepts connections, and cancels scheduled faults.
    pub fn pass(&self) {
        self.control.send_modify(|control| {
            (control.stopped_to_server, control.stopped_to_client) = (false, false);
            control.refusing = false;
            control.limit = None;
            control.losing_commit_reply = None;
        });
    }

    /// Stops all traffic in these directions, on old and new connections.
    pub fn stop(&self, directions: &[Direction]) {
        self.control.send_modify(|control| {
            control.stopped_to_server |= directions.contains(&ToServer);
            control.stopped_to_client |= directions.contains(&ToClient);
        });
    }

    /// Forwards `count` more bytes in `direction`, over all connections, then stops traffic in both directions.
    pub fn stop_after(&self, direction: Direction, count: u64) {
        self.order(direction, count, Then::Stop);
    }

    /// Resets every connection. New connections are forwarded.
    pub fn reset(&self) {
        self.control.send_modify(|control| control.resets += 1);
    }

    /// Forwards `count` more bytes in `direction`, over all connections, then resets every connection once.
    pub fn reset_after(&self, direction: Direction, count: u64) {
        self.order(direction, count, Then::Reset);
    }

    /// Open connections stay open without traffic until they are reset. New connections are forwarded.
    pub fn strand(&self) {
        self.control.send_modify(|control| control.first_alive = control.connections);
    }

    /// Resets every connection and refuses new ones.
    pub fn refuse(&self) {
        self.control.send_modify(|control| {
            control.refusing = true;
            control.resets += 1;
        });
    }

    /// The `number`-th `COMMIT` from now on reaches the server. Its reply is dropped and the connection reset. Needs
    /// `sslmode=disable`, because the proxy parses PostgreSQL's protocol.
    pub fn lose_commit_reply(&self, number: u64) {
        self.control.send_modify(|control| control.losing_commit_reply = Some(number));
    }

    /// The number of scheduled faults that have occurred: limits reached, replies dropped.
    pub fn faults(&self) -> u64 {
        self.control.borrow().faults
    }

    /// Waits until `count` scheduled faults have occurred.
    pub async fn reached(&self, count: u64) {
        let mut control = self.control.subscribe();
        control.wait_for(|control| control.faults >= count).await.expect("the proxy runs");
    }

    /// The number of bytes forwarded so far.
    pub fn forwarded(&self, direction: Direction) -> u64 {
        let control = self.control.borrow();
        match direction {
            ToServer => control.forwarded_to_server,
            ToClient => control.forwarded_to_client,
        }
    }

    fn order(&self, direction: Direction, count: u64, then: Then) {
        self.control
            .send_modify(|control| control.limit = Some(Limit { direction, left: count.max(1), then }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.reset();
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    target: u16,
    control: Arc<watch::Sender<Control>>,
) {
    let mut listener = Some(listener);
    let mut seen = control.subscribe();
    loop {
        let Some(open) = &listener else {
            // A port without a listener refuses connections.
            if seen.wait_for(|control| !control.refusing).await.is_err() {
                return;
            }
            listener = Some(TcpListener::bind(address).await.expect("the proxy's port again"));
            continue;
        };
        tokio::select! {
            _ = seen.wait_for(|control| control.refusing) => listener = None,
            accepted = open.accept() => {
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(forward(client, target, Arc::clone(&control)));
            }
        }
    }
}

/// Forwards one connection until both sides have closed it or a fault ends it.
async fn forward(mut client: TcpStream, target: u16, control: Arc<watch::Sender<Control>>) {
    let mut seen = control.subscribe();
    let resets = seen.borrow().resets;
    let mut connection = 0;
    control.send_modify(|control| {
        connection = control.connections;
        control.connections += 1;
    });
    let server = TcpStream::connect(("127.0.0.1", target)).await;
    let Ok(mut server) = server else {
        drop(client.set_zero_linger());
        return;
    };
    let losing = AtomicBool::new(false);
    let ended_in_order = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let pumps = async {
            tokio::try_join!(
                pump((ToServer, connection), from_client, to_server, &control, &losing),
                pump((ToClient, connection), from_server, to_client, &control, &losing)
            )
        };
        tokio::select! {
            ended = pumps => ended.is_ok(),
            _ = seen.wait_for(|control| control.resets > resets) => false,
        }
    };
    if !ended_in_order {
        // A socket that is closed with linger zero sends RST. A socket that is already closed needs none.
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
}

/// The connection must end with RST.
struct Broken;

async fn pump(
    (direction, connection): (Direction, u64),
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    control: &watch::Sender<Control>,
    losing: &AtomicBool,
) -> Result<(), Broken> {
    let mut seen = control.subscribe();
    let mut messages = Messages::default();
    let mut buffer = vec![0; 16 << 10];
    loop {
        seen.wait_for(|control| control.moves(direction, connection)).await.map_err(|_| Broken)?;
        let count = from.read(&mut buffer).await.map_err(|_| Broken)?;
        // Traffic may have been stopped while these bytes, or the end of the stream, were awaited.
        seen.wait_for(|control| control.moves(direction, connection)).await.map_err(|_| Broken)?;
        if direction == ToClient && losing.load(Ordering::SeqCst) {
            control.send_modify(|control| control.faults += 1);
            return Err(Broken);
        }
        if count == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        let mut rest = &buffer[..count];
        if direction == ToServer && messages.hold_commit(rest) {
            control.send_modify(|control| losing.store(control.count_commit(), Ordering::SeqCst));
        }
        while !rest.is_empty() {
            let mut allowed = 0;
            control.send_modify(|control| allowed = control.take(direction, rest.len()));
            to.write_all(&rest[..allowed]).await.map_err(|_| Broken)?;
            rest = &rest[allowed..];
            if !rest.is_empty() {
                seen.wait_for(|control| control.moves(direction, connection)).await.map_err(|_| Broken)?;
            }
        }
    }
}

/// Finds messages in the bytes of a PostgreSQL client: a startup message without a type byte, then messages with a type
/// byte and a length. In any other protocol it finds none.
#[derive(Debug, Default)]
struct Messages {
    started: bool,
    /// The number of remaining bytes of the current message to skip.
    skip: usize,
    head: Vec<u8>,
}

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Messages {
    /// Whether the query `COMMIT` ends within `bytes`, the next bytes of the connection.
    fn hold_commit(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = &rest[skipped..];
            let Some((first, after)) = rest.split_first() else { break };
            self.head.push(*first);
            rest = after;
            let type_len = usize::from(self.started);
            if COMMIT.starts_with(&self.head) && self.started {
                found |= self.head.len() == COMMIT.len();
                if self.head.len() < COMMIT.len() {
                    continue;
                }
            }
            if let Some(length) = self.head.get(type_len..type_len + 4) {
                let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
                self.skip = (type_len + length).saturating_sub(self.head.len());
                self.head.clear();
                self.started = true;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_found_however_the_bytes_are_cut_and_only_as_a_query() {
        let mut stream = b"\0\0\0\x0c\0\x03\0\0user".to_vec();
        stream.extend_from_slice(b"Q\0\0\0\x0aBEGIN\0");
        // A row that contains the bytes of a commit.
        stream.extend_from_slice(b"d\0\0\0\x10");
        stream.extend_from_slice(COMMIT);
        stream.extend_from_slice(b"Q\0\0\0\x0aCLOSE\0");
        let before = stream.len();
        stream.extend_from_slice(COMMIT);
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let mut at = 0;
            for piece in stream.chunks(size) {
                let found = messages.hold_commit(piece);
                at += piece.len();
                assert_eq!(found, at == stream.len(), "pieces of {size}, {at} of {before}");
            }
        }
    }
}
