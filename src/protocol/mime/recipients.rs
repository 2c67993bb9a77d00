//! Header recipients against the envelope.

use super::fields;

/// The header without its Bcc fields; `None` when there is nothing to drop.
pub fn without_bcc(header: &[u8]) -> Option<Vec<u8>> {
    let is_bcc = |field: &super::Field<'_>| field.is("Bcc") || field.is("Resent-Bcc");
    fields(header).find(is_bcc)?;
    let mut kept = Vec::with_capacity(header.len());
    let mut read = 0;
    for field in fields(header) {
        read += field.raw.len();
        if !is_bcc(&field) {
            kept.extend_from_slice(field.raw);
        }
    }
    kept.extend_from_slice(&header[read..]);
    Some(kept)
}
