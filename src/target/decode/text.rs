//! Rows out of delimited text: CSV, TSV and their kin.

use super::{Columns, Decoded, no_cells, shortened};
use crate::canary::Cell;

/// Reads rows. A first line that names our columns maps the others; without one, columns stand in
/// the order of the query. Both are accepted whatever was asked for: the rows are what counts.
pub(super) fn rows(bytes: &[u8], delimiter: u8, most: usize) -> Decoded {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let mut columns: Option<Columns> = None;
    let mut decoded = Decoded::default();
    while decoded.rows.len() < most {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                decoded.broken = true;
                break;
            }
        }
        let texts = record.iter().map(String::from_utf8_lossy);
        let Some(columns) = &columns else {
            let names: Vec<_> = texts.collect();
            match Columns::by_name(names.iter().map(|name| &**name)) {
                Some(named) => columns = Some(named),
                None => {
                    let by_position = Columns::by_position();
                    decoded.rows.push(row(&by_position, names.into_iter()));
                    columns = Some(by_position);
                }
            }
            continue;
        };
        decoded.rows.push(row(columns, texts));
    }
    decoded
}

fn row<'a>(columns: &Columns, texts: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Vec<Cell> {
    let mut cells = no_cells();
    for (at, text) in texts.enumerate() {
        if let Some(place) = columns.place(at) {
            cells[place] = Cell::Text(shortened(&text));
        }
    }
    cells
}
