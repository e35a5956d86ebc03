//! A piece of network that can fail: between the service and what it depends on.

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

/// Forwards TCP connections, unchanged as long as nobody asks for a fault. It lasts as long as the
/// process.
pub struct Proxy {
    /// Where it listens, always.
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    tear: Arc<AtomicU8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    target: SocketAddr,
    is_open: bool,
    /// Rises with each cut; a connection ends when it is no longer the one that it began with.
    cuts: u64,
    /// New connections are taken, and nothing is heard over them.
    is_silent: bool,
    /// Rises with each silence; a connection that began before one is silent for good.
    silences: u64,
    delay: Duration,
    /// Bytes in a second, each way and for each connection.
    width: Option<u32>,
}

/// Which way bytes go.
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

    /// Ends the connections there are, and sends new ones there.
    pub fn turn_to(&self, target: SocketAddr) {
        self.change(|link| (link.target, link.is_open) = (target, true));
    }

    /// Ends all connections, whatever goes over them at this moment. New ones are carried.
    pub fn cut(&self) {
        self.change(|_| ());
    }

    /// Ends all connections, and new ones at once, until [`Proxy::mend`].
    pub fn refuse(&self) {
        self.change(|link| link.is_open = false);
    }

    /// Swallows whatever is sent over the connections there are, and over new ones until
    /// [`Proxy::lead_to`]. All of them stay open, and say nothing any more, ever: as where the
    /// other end has lost its power.
    pub fn swallow(&self) {
        self.link.send_modify(|link| (link.is_silent, link.silences) = (true, link.silences + 1));
    }

    /// Sends new connections there. Those there are stay as they are.
    pub fn lead_to(&self, target: SocketAddr) {
        self.link.send_modify(|link| (link.target, link.is_silent) = (target, false));
    }

    /// Carries connections again.
    pub fn mend(&self) {
        self.change(|link| link.is_open = true);
    }

    /// What arrives goes on so much later, in each direction. Connections stay.
    pub fn delay(&self, by: Duration) {
        self.link.send_modify(|link| link.delay = by);
    }

    /// No more bytes than so many go through in a second, each way and for each connection.
    #[allow(dead_code)] // of the tests of one replica
    pub fn narrow(&self, bytes_per_second: u32) {
        self.link.send_modify(|link| link.width = Some(bytes_per_second));
    }

    /// Ends the connection that sends the next request, when half of it is through.
    pub fn tear_a_request(&self) {
        self.tear.store(Way::ToServer as u8, Ordering::Release);
    }

    /// Ends the connection that is sent the next answer, which gets lost.
    pub fn tear_an_answer(&self) {
        self.tear.store(Way::ToClient as u8, Ordering::Release);
    }

    /// Whether the connection that was to be torn is.
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

/// Carries one connection until an end closes it, or it is cut.
async fn carry(mut client: TcpStream, mut link: watch::Receiver<Link>, tear: Arc<AtomicU8>) {
    let begun = link.borrow_and_update().clone();
    // A port that is closed for good could be taken by another; a reset right after the handshake
    // says as much to the client.
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

/// A thread of its own: a test that waits for a command without yielding does not stop the network.
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
