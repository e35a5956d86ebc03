//! Reads at an offered rate, whatever the service does: an open loop.
//!
//! Each request is due at a fixed instant, and takes the connection that has been free for longest.
//! If none is free, it waits for one. Its time runs from the instant at which it was due all the
//! same. So a service that stops for a moment is charged with every request that came in that
//! moment (no coordinated omission).
//!
//! All of it runs on one thread that sleeps between the instants, to the microsecond: the service
//! and its peers need the rest of the machine. The client must not be what is measured. So it
//! prints how late it was itself (the time from the instant to the sending, of requests that found
//! a free connection), and its processor time.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    thread::set_current_timer_slack,
    time::{ClockId, clock_gettime},
};

use crate::{
    Arguments, Failure,
    connection::{head, request},
    quantile_ms,
};

/// The first part of the requests is not counted: connections and caches warm up.
const WARM_UP: f64 = 0.1;
/// After this time without an answer the service hangs, and the measurement fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the quantiles of the time from the instant at which a request was due to its answer.
pub fn reads(arguments: &Arguments) -> Result<String, Failure> {
    let (file, address) = (arguments.text("paths")?, arguments.text("address")?);
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let (rate, seconds) = (arguments.number("rate")?, arguments.number("seconds")?);
    set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::new();
    for number in 0..arguments.number("connections")? {
        let client = Client::open(address)?;
        let number = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &client.stream, number, epoll::EventFlags::IN)?;
        clients.push(client);
    }
    let load = Load {
        epoll,
        requests: text.lines().map(|path| request("GET", path, "", b"")).collect(),
        free: (0..clients.len()).collect(),
        clients,
        waiting: VecDeque::new(),
        begun: Instant::now(),
        every: Duration::from_secs(1) / u32::try_from(rate)?,
        total: rate * seconds,
        due: 0,
        sent: 0,
        taken: Vec::new(),
        lateness: Vec::new(),
    };
    load.run()
}

struct Load {
    epoll: rustix::fd::OwnedFd,
    requests: Vec<Vec<u8>>,
    clients: Vec<Client>,
    /// The connections that wait for no answer, the one that has been free for longest first.
    free: VecDeque<usize>,
    /// The instants of requests that were due when no connection was free.
    waiting: VecDeque<Instant>,
    begun: Instant,
    every: Duration,
    total: usize,
    /// How many requests have been due, and how many were sent.
    due: usize,
    sent: usize,
    taken: Vec<Duration>,
    lateness: Vec<Duration>,
}

impl Load {
    fn run(mut self) -> Result<String, Failure> {
        let mut events = Vec::with_capacity(self.clients.len());
        let mut last_answer = Instant::now();
        while self.taken.len() < self.total {
            self.send_what_is_due()?;
            let wait = match self.due < self.total {
                true => self.next_due().saturating_duration_since(Instant::now()),
                false => PATIENCE,
            };
            let wait = Timespec {
                tv_sec: i64::try_from(wait.as_secs())?,
                tv_nsec: wait.subsec_nanos().into(),
            };
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                let event: &epoll::Event = event;
                self.read_answer(event.data.u64() as usize)?;
                last_answer = Instant::now();
            }
            if last_answer.elapsed() > PATIENCE {
                return Err(format!("no answer came for {} s", PATIENCE.as_secs()).into());
            }
        }
        Ok(self.report())
    }

    fn next_due(&self) -> Instant {
        self.begun + self.every * self.due as u32
    }

    fn send_what_is_due(&mut self) -> Result<(), Failure> {
        loop {
            let (at, now) = (self.next_due(), Instant::now());
            if self.due == self.total || at > now {
                return Ok(());
            }
            self.due += 1;
            match self.free.pop_front() {
                Some(client) => {
                    self.lateness.push(now - at);
                    self.send(client, at)?;
                }
                None => self.waiting.push_back(at),
            }
        }
    }

    /// Sends the next path. The paths are spread, so that neighbours in the file do not follow each
    /// other.
    fn send(&mut self, client: usize, due: Instant) -> Result<(), Failure> {
        let request = &self.requests[self.sent * 7919 % self.requests.len()];
        self.sent += 1;
        self.clients[client].due = due;
        // So few bytes fit into the socket's buffer at once.
        match self.clients[client].stream.write(request)? {
            written if written == request.len() => Ok(()),
            written => Err(format!("{written} of {} bytes were sent", request.len()).into()),
        }
    }

    fn read_answer(&mut self, number: usize) -> Result<(), Failure> {
        let client = &mut self.clients[number];
        if !client.has_answer()? {
            return Ok(());
        }
        self.taken.push(client.due.elapsed());
        match self.waiting.pop_front() {
            Some(due) => self.send(number, due),
            None => {
                self.free.push_back(number);
                Ok(())
            }
        }
    }

    fn report(mut self) -> String {
        let time = self.begun.elapsed().as_secs_f64();
        let processor = clock_gettime(ClockId::ThreadCPUTime);
        let processor = processor.tv_sec as f64 + processor.tv_nsec as f64 / 1e9;
        let delayed = self.total - self.lateness.len();
        let mut counted = self.taken.split_off((self.taken.len() as f64 * WARM_UP) as usize);
        counted.sort_unstable();
        self.lateness.sort_unstable();
        let us = |sorted: &[Duration], quantile| quantile_ms(sorted, quantile) * 1000.0;
        let mut line = format!("rate={:.0}", self.total as f64 / time);
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            line += &format!(" {label}_us={:.0}", us(&counted, quantile));
        }
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            line += &format!(" late_{label}_us={:.0}", us(&self.lateness, quantile));
        }
        line + &format!(" no_free_connection={delayed} client_cores={:.2}", processor / time)
    }
}

/// A connection, and the instant at which its request was due.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    due: Instant,
}

impl Client {
    fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Client { stream, received: Vec::new(), due: Instant::now() })
    }

    /// Reads what has come; whether the answer is complete with it.
    fn has_answer(&mut self) -> Result<bool, Failure> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err("the service closed the connection before its answer".into()),
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        match head(&self.received)? {
            Some((head, length)) if self.received.len() >= head + length => {}
            _ => return Ok(false),
        }
        if !self.received.starts_with(b"HTTP/1.1 200 ") {
            let line = self.received.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(format!("a read was answered {line}").into());
        }
        self.received.clear();
        Ok(true)
    }
}
