//! A proxy that can fail, between the service and what it depends on.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};

/// Forwards TCP connections, without changes until a test asks for a fault. It runs until the
/// process ends.
pub struct Proxy {
    /// The address on which it always listens.
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    tear: Arc<AtomicU8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    target: SocketAddr,
    is_open: bool,
    /// Rises with each cut. A connection ends when the number is not the one with which it began.
    cuts: u64,
    /// New connections are accepted, and no byte is forwarded over them.
    is_silent: bool,
    /// Rises with each silence. A connection that began before a silence never forwards a byte
    /// again.
    silences: u64,
    delay: Duration,
    /// Bytes per second, in each direction and for each connection.
    width: Option<u32>,
}

/// The direction of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    ToServer = 1,
    ToClient = 2,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Proxy {
        let (link, watched) = watch::channel(Link {
            target,
            is_open: true,
            cuts: 0,
            is_silent: false,
            silences: 0,
            delay: Duration::ZERO,
            width: None,
        });
        let tear = Arc::new(AtomicU8::new(0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket can be set so");
        let torn = tear.clone();
        network().spawn(async move {
            let listener = TcpListener::from_std(listener).expect("it is bound, and set so");
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, watched.clone(), torn.clone()));
            }
        });
        Proxy { address, link, tear }
    }

    /// Ends the open connections, and leads new ones to this address.
    pub fn turn_to(&self, target: SocketAddr) {
        self.change(|link| (link.target, link.is_open) = (target, true));
    }

    /// Ends all connections, also those in use. New ones are forwarded.
    pub fn cut(&self) {
        self.change(|_| ());
    }

    /// Ends all connections, and each new one at once, until [`Proxy::mend`].
    pub fn refuse(&self) {
        self.change(|link| link.is_open = false);
    }

    /// Discards all bytes over the open connections, and over new ones until [`Proxy::lead_to`].
    /// The connections stay open and never forward a byte again, as when the other end has lost its
    /// power.
    pub fn swallow(&self) {
        self.link.send_modify(|link| (link.is_silent, link.silences) = (true, link.silences + 1));
    }

    /// Leads new connections to this address. Open ones stay as they are.
    pub fn lead_to(&self, target: SocketAddr) {
        self.link.send_modify(|link| (link.target, link.is_silent) = (target, false));
    }

    /// Forwards connections again.
    pub fn mend(&self) {
        self.change(|link| link.is_open = true);
    }

    /// Forwards all bytes with this delay, in each direction. Connections stay open.
    pub fn delay(&self, by: Duration) {
        self.link.send_modify(|link| link.delay = by);
    }

    /// Limits the bytes per second, in each direction and for each connection.
    #[allow(dead_code)] // of the tests of one replica
    pub fn narrow(&self, bytes_per_second: u32) {
        self.link.send_modify(|link| link.width = Some(bytes_per_second));
    }

    /// Ends the connection that sends the next request, when half of this request is forwarded.
    pub fn tear_a_request(&self) {
        self.tear.store(Way::ToServer as u8, Ordering::Release);
    }

    /// Ends the connection that receives the next answer, which is lost.
    pub fn tear_an_answer(&self) {
        self.tear.store(Way::ToClient as u8, Ordering::Release);
    }

    /// Whether the connection was ended as [`Proxy::tear_a_request`] or [`Proxy::tear_an_answer`]
    /// asked.
    pub fn is_torn(&self) -> bool {
        self.tear.load(Ordering::Acquire) == 0
    }

    fn change(&self, change: impl FnOnce(&mut Link)) {
        self.link.send_modify(|link| {
            change(link);
            link.cuts += 1;
        });
    }
}

/// Forwards one connection until one end closes it, or until it is cut.
async fn carry(mut client: TcpStream, mut link: watch::Receiver<Link>, tear: Arc<AtomicU8>) {
    let begun = link.borrow_and_update().clone();
    // If the port were closed, another process could take it. A reset right after the handshake has
    // the same meaning for the client.
    let _ = client.set_zero_linger();
    if !begun.is_open {
        return;
    }
    let mut watched = link.clone();
    let cut = async move { drop(watched.wait_for(|now| now.cuts != begun.cuts).await) };
    tokio::pin!(cut);
    if begun.is_silent {
        return cut.await;
    }
    let Ok(mut server) = TcpStream::connect(begun.target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true), server.set_zero_linger());
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let watched = link.clone();
    let silence = async { drop(link.wait_for(|now| now.silences != begun.silences).await) };
    tokio::select! {
        _ = pump(Way::ToServer, from_client, to_server, &watched, &tear) => return,
        _ = pump(Way::ToClient, from_server, to_client, &watched, &tear) => return,
        () = &mut cut => return,
        () = silence => {}
    }
    cut.await;
}

async fn pump(
    way: Way,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    link: &watch::Receiver<Link>,
    tear: &AtomicU8,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let (delay, width) = (link.borrow().delay, link.borrow().width);
        let passage =
            width.map_or(Duration::ZERO, |width| Duration::from_secs(count as u64) / width);
        if !(delay + passage).is_zero() {
            tokio::time::sleep(delay + passage).await;
        }
        if tear.compare_exchange(way as u8, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let through = if way == Way::ToServer { count / 2 } else { 0 };
            return to.write_all(&buffer[..through]).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// The runtime of the proxies has a thread of its own. So a test that blocks while it waits for a
/// command does not stop them.
fn network() -> &'static Runtime {
    static NETWORK: OnceLock<Runtime> = OnceLock::new();
    NETWORK.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made")
    })
}
