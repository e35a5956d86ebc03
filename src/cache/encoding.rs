//! Content encodings of small JSON bodies.

use std::io::Write;

/// Gzip at its default level; `None` where it fails, which leaves the plain body.
pub fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(body.len() / 2),
        flate2::Compression::default(),
    );
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Brotli at quality 5, where larger ones stop paying for bodies of this size; the window is the
/// smallest that holds one.
pub fn brotli(body: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::with_capacity(body.len() / 2);
    let mut encoder = brotli::CompressorWriter::new(&mut form, 4096, 5, 16);
    encoder.write_all(body).ok()?;
    encoder.flush().ok()?;
    drop(encoder);
    Some(form)
}
