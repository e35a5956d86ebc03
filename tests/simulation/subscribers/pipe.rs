//! The socket of a WebSocket: it takes so many bytes until somebody reads.

use std::{
    cell::RefCell,
    io::{ErrorKind, IoSlice, Result as IoResult},
    rc::Rc,
};

use facility_summary::live::connection::Wire;

/// Both ends of the socket.
#[derive(Clone)]
pub struct Pipe {
    bytes: Rc<RefCell<Vec<u8>>>,
    room: usize,
}

impl Pipe {
    /// An empty one with so much room.
    pub fn new(room: usize) -> Self {
        Pipe { bytes: Rc::default(), room }
    }

    /// Takes so many bytes out, at most.
    pub fn read(&self, most: usize) -> Vec<u8> {
        let mut bytes = self.bytes.borrow_mut();
        let most = most.min(bytes.len());
        bytes.drain(..most).collect()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }
}

impl Wire for Pipe {
    fn try_write(&self, parts: &[IoSlice<'_>]) -> IoResult<usize> {
        let mut bytes = self.bytes.borrow_mut();
        let before = bytes.len();
        for part in parts {
            let left = self.room.saturating_sub(bytes.len()).min(part.len());
            bytes.extend_from_slice(&part[..left]);
        }
        match bytes.len() - before {
            0 => Err(ErrorKind::WouldBlock.into()),
            written => Ok(written),
        }
    }
}
