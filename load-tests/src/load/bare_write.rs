//! What the kernel alone takes for a message: a bare write to one loopback connection after the
//! other.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Arguments, Failure};

/// Writes so many messages of so many bytes, each to another connection; another thread reads them.
pub fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let (connections, bytes) = (arguments.number("connections")?, arguments.number("bytes")?);
    let times = arguments.number("times")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        readers.push(TcpStream::connect(address)?);
        let writer = listener.accept()?.0;
        writer.set_nodelay(true)?;
        writers.push(writer);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let reading = std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        for reader in &readers {
            reader.set_nonblocking(true)?;
        }
        while !over.load(Ordering::Relaxed) {
            for reader in &mut readers {
                let _nothing_there = reader.read(&mut buffer);
            }
        }
        Ok(())
    });
    let (message, before) = (vec![b'x'; bytes], processor_ns()?);
    for _ in 0..times.div_ceil(connections) {
        for writer in &mut writers {
            writer.write_all(&message)?;
        }
    }
    let spent = processor_ns()? - before;
    is_over.store(true, Ordering::Relaxed);
    reading.join().map_err(|_| "the reader ended")??;
    let written = times.div_ceil(connections) * connections;
    Ok(format!("us_per_write={:.2} written={written}", spent as f64 / written as f64 / 1_000.0))
}

/// The time that this thread has been on a processor.
fn processor_ns() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().ok_or("no schedstat")?.parse()?)
}
