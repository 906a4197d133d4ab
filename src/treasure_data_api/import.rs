//! Imports: rows as the API takes them, gzipped MessagePack maps, sent with a checksum.

use std::fmt::Write as _;

use flate2::{Compression, GzBuilder};
use md5::{Digest, Md5};
use rmpv::Value as Pack;

use super::{Api, ApiError, Load};

impl Api {
    /// Sends packed rows into a table. The same `id` is taken once.
    pub async fn import(&self, database: &str, table: &str, id: &str, packed: Vec<u8>) -> Result<(), ApiError> {
        let sum = hex(&Md5::digest(&packed));
        let path = ["table", "import_with_id", database, table, id, "msgpack.gz"];
        let answer = self.put(&path, Load::Bytes(packed)).await?.done()?;
        match answer.json["md5_hex"].as_str() {
            Some(told) if !told.is_empty() && !told.eq_ignore_ascii_case(&sum) => {
                Err(ApiError::Nonsense("the import arrived with another checksum than it was sent with".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Rows as MessagePack maps, one after the other.
pub fn mapped(rows: impl IntoIterator<Item = Vec<(&'static str, Pack)>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        let pairs = row.into_iter().map(|(name, value)| (Pack::from(name), value)).collect();
        rmpv::encode::write_value(&mut bytes, &Pack::Map(pairs)).expect("writing to memory does not fail");
    }
    bytes
}

/// The same bytes for the same rows, whenever they are packed.
pub fn packed(mapped: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let written = gzip.write_all(mapped);
    written.and_then(|()| gzip.finish()).expect("writing to memory does not fail")
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
