//! A body that is sent many times, with its entity tag and its compressed forms.

use std::sync::OnceLock;

use bytes::Bytes;

use super::encoding;

/// A rendered body. The compressed forms are made for the first reader that accepts them.
#[derive(Debug)]
pub struct Forms {
    body: Bytes,
    /// The strong entity tag of the plain body, quotes included.
    etag: Bytes,
    gzip: OnceLock<Option<Bytes>>,
    brotli: OnceLock<Option<Bytes>>,
}

impl Forms {
    /// `etag` is the strong entity tag of the plain body, quotes included.
    pub fn new(body: Bytes, etag: String) -> Self {
        Forms { body, etag: etag.into(), gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    /// The plain body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The strong entity tag of the plain body, quotes included.
    pub fn etag(&self) -> &Bytes {
        &self.etag
    }

    /// The body in gzip; `None` where that does not save a quarter. The first call compresses.
    pub fn gzip(&self) -> Option<Bytes> {
        self.gzip.get_or_init(|| encoding::gzip(&self.body).and_then(|f| self.pays(f))).clone()
    }

    /// The body in Brotli; `None` where that does not save a quarter. The first call compresses.
    pub fn brotli(&self) -> Option<Bytes> {
        self.brotli.get_or_init(|| encoding::brotli(&self.body).and_then(|f| self.pays(f))).clone()
    }

    /// Whether the next call of `gzip` (or of `brotli`) compresses so much that it takes
    /// milliseconds.
    pub fn is_long_work(&self, brotli: bool) -> bool {
        const LONG: usize = 16 << 10;
        let form = if brotli { &self.brotli } else { &self.gzip };
        self.body.len() > LONG && form.get().is_none()
    }

    fn pays(&self, form: Vec<u8>) -> Option<Bytes> {
        (form.len() * 4 <= self.body.len() * 3).then(|| Bytes::from(form))
    }
}
