//! Content encodings of small JSON bodies.

use std::io::Write;

/// The body in gzip at its default level; `None` where compression fails, and the plain body is
/// sent.
pub fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(body.len() / 2),
        flate2::Compression::default(),
    );
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// The body in Brotli at quality 5; higher qualities gain nothing for bodies of this size. The
/// window (2^16 bytes) is the smallest that holds one body. `None` where compression fails.
pub fn brotli(body: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::with_capacity(body.len() / 2);
    let mut encoder = brotli::CompressorWriter::new(&mut form, 4096, 5, 16);
    encoder.write_all(body).ok()?;
    encoder.flush().ok()?;
    drop(encoder);
    Some(form)
}
