//! Rows in the binary format of Postgres' COPY. It is the fastest way into the database. The dry
//! run hashes this form.

use uuid::Uuid;

use super::rows::{CopyFields, GeneratedRow};

/// 2000-01-01, from which Postgres counts microseconds.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

/// Rows that are not sent yet.
#[derive(Debug, Default)]
pub struct CopyBuffer(Vec<u8>);

impl CopyBuffer {
    /// A buffer that begins with the signature of the format.
    pub fn with_header() -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend([0u8; 8]);
        CopyBuffer(bytes)
    }

    /// Adds a row.
    pub fn push<R: GeneratedRow>(&mut self, row: &R) {
        self.0.extend((R::COLUMNS.len() as i16).to_be_bytes());
        row.write(self);
    }

    /// Adds the end of the stream.
    pub fn push_trailer(&mut self) {
        self.0.extend((-1i16).to_be_bytes());
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Empties the buffer, after its bytes were sent.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as i32).to_be_bytes());
        self.0.extend(bytes);
    }
}

impl CopyFields for CopyBuffer {
    fn uuid(&mut self, value: Uuid) {
        self.field(value.as_bytes());
    }

    fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    fn number(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    fn instant(&mut self, value_ms: Option<i64>) {
        match value_ms {
            Some(ms) => self.field(&((ms - POSTGRES_EPOCH_MS) * 1000).to_be_bytes()),
            None => self.0.extend((-1i32).to_be_bytes()),
        }
    }
}
