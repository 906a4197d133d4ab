//! A statement: where its rows go and how, read from its beginning. It may be anybody's, and whatever it says is
//! read in one pass; what cannot be told is said to be hidden, never guessed.

use super::words::{Stop, Word, Words};
use crate::canary::Mode;

/// Parts of a table's name at most: catalog, schema, table.
const PARTS: usize = 3;

/// What a statement does with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// Nothing that stays: it reads, or it changes no table's rows.
    Nothing,
    /// It puts them into a table.
    Into(Table, Mode),
    /// It may put them into one, and which does not stand here: it was prepared before, or it begins further
    /// back than was read.
    Hidden,
}

/// A table's name as it was written, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Absent: the session's.
    pub(super) catalog: Option<String>,
    /// Absent: the session's.
    pub(super) schema: Option<String>,
    pub(super) table: String,
}

/// Reads it. `is_whole`: the text is all of it, and not only its beginning.
pub(super) fn read(text: &str, is_whole: bool) -> Writes {
    match begun(&mut Words::of(text, is_whole)) {
        Ok(writes) => writes,
        // These engines refuse what has no end.
        Err(_) if is_whole => Writes::Nothing,
        Err(_) => Writes::Hidden,
    }
}

/// What it begins with. An error: it is over before that can be told.
fn begun(words: &mut Words<'_>) -> Result<Writes, Stop> {
    let mut first = words.next()?;
    if first == word("explain") {
        // With this it is carried out all the same; without, it is not.
        if !words.skipped(&word("analyze"))? {
            return Ok(Writes::Nothing);
        }
        words.skipped(&word("verbose"))?;
        first = words.next()?;
    }
    let Word::Plain(first) = first else { return Ok(Writes::Nothing) };
    let mode = match first.as_str() {
        "execute" => return executed(words),
        "insert" if words.skipped(&word("into"))? => Mode::Append,
        "merge" if words.skipped(&word("into"))? => Mode::Update,
        "create" => {
            if words.skipped(&word("or"))? {
                words.skipped(&word("replace"))?;
            }
            if !words.skipped(&word("table"))? {
                return Ok(Writes::Nothing);
            }
            if words.skipped(&word("if"))? {
                words.skipped(&word("not"))?;
                words.skipped(&word("exists"))?;
            }
            Mode::Replace
        }
        _ => return Ok(Writes::Nothing),
    };
    let Some(table) = table(words)? else { return Ok(Writes::Nothing) };
    if mode == Mode::Replace && !is_filled(words)? {
        return Ok(Writes::Nothing);
    }
    Ok(Writes::Into(table, mode))
}

/// `EXECUTE name …`: what was prepared stands elsewhere. `EXECUTE IMMEDIATE '…'`: it stands here.
fn executed(words: &mut Words<'_>) -> Result<Writes, Stop> {
    if words.skipped(&word("immediate"))?
        && let Word::Text(text) = words.next()?
    {
        // Not one within another, which these engines do not take: no text leads further down.
        let mut inner = Words::of(&text, true);
        let is_another = inner.clone().skipped(&word("execute")).unwrap_or(true);
        return Ok(if is_another { Writes::Nothing } else { begun(&mut inner).unwrap_or(Writes::Nothing) });
    }
    Ok(Writes::Hidden)
}

/// Whether rows come with a table that is made: `[(columns)] [COMMENT text] [WITH (properties)] AS query`.
/// Without them it is empty.
fn is_filled(words: &mut Words<'_>) -> Result<bool, Stop> {
    let mut depth = 0_usize;
    loop {
        // The end of all of it is also the end of a table without rows.
        match words.next()? {
            Word::Sign('(') => depth += 1,
            Word::Sign(')') => depth = depth.saturating_sub(1),
            Word::Sign(';') if depth == 0 => return Ok(false),
            one if depth == 0 && one == word("as") => return Ok(true),
            _ => {}
        }
    }
}

/// The name of a table. None: it is not one.
fn table(words: &mut Words<'_>) -> Result<Option<Table>, Stop> {
    let mut parts = Vec::new();
    loop {
        match words.next()? {
            Word::Plain(name) | Word::Quoted(name) if !name.is_empty() && parts.len() < PARTS => parts.push(name),
            _ => return Ok(None),
        }
        if !words.skipped(&Word::Sign('.'))? {
            break;
        }
    }
    let table = parts.pop();
    let (schema, catalog) = (parts.pop(), parts.pop());
    Ok(table.map(|table| Table { catalog, schema, table }))
}

fn word(text: &str) -> Word {
    Word::Plain(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match read(text, true) {
            Writes::Nothing => "nothing".to_owned(),
            Writes::Hidden => "hidden".to_owned(),
            Writes::Into(Table { catalog, schema, table }, mode) => {
                let part = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
                format!("{mode} {}|{}|{table}", part(catalog), part(schema))
            }
        }
    }

    #[test]
    fn a_statement_says_by_its_beginning_where_its_rows_go() {
        for (text, wanted) in [
            ("INSERT INTO pg.public.orders SELECT 1", "append pg|public|orders"),
            ("insert into PG.Public.Orders (a, b) WITH x AS (SELECT 1) SELECT * FROM x", "append pg|public|orders"),
            ("INSERT INTO orders VALUES (1)", "append -|-|orders"),
            ("INSERT INTO public.orders TABLE x", "append -|public|orders"),
            ("/* landfall */-- it\n INSERT/**/INTO \"pg\" . \"p\"\"q\".\"a.b\" SELECT 1", "append pg|p\"q|a.b"),
            ("INSERT INTO \"select\".\"from\".\"as\" SELECT 1", "append select|from|as"),
            ("INSERT INTO pg.public.\"x;DROP TABLE y\" SELECT 1", "append pg|public|x;drop table y"),
            ("CREATE TABLE pg.public.t AS SELECT 1 AS x", "replace pg|public|t"),
            ("CREATE TABLE IF NOT EXISTS pg.public.t AS (SELECT 1 AS x) WITH NO DATA", "replace pg|public|t"),
            ("CREATE OR REPLACE TABLE t COMMENT 'as is' WITH (format = 'ORC') AS SELECT 1", "replace -|-|t"),
            ("CREATE TABLE t (as_x, y) AS SELECT 1, 2", "replace -|-|t"),
            ("CREATE TABLE t (x bigint)", "nothing"),
            ("CREATE TABLE t (x bigint) WITH (a = ARRAY['x AS y'])", "nothing"),
            ("CREATE TABLE t (LIKE u); SELECT 1 AS x", "nothing"),
            ("MERGE INTO pg.public.t AS a USING u ON a.x = u.x WHEN MATCHED THEN DELETE", "update pg|public|t"),
            ("EXPLAIN ANALYZE VERBOSE INSERT INTO pg.p.t SELECT 1", "append pg|p|t"),
            ("EXPLAIN INSERT INTO pg.p.t SELECT 1", "nothing"),
            ("EXPLAIN (TYPE LOGICAL) INSERT INTO pg.p.t SELECT 1", "nothing"),
            ("EXECUTE nightly USING 1", "hidden"),
            ("EXECUTE IMMEDIATE 'INSERT INTO pg.p.t SELECT ''INSERT INTO x.y.z'''", "append pg|p|t"),
            ("EXECUTE IMMEDIATE 'EXECUTE x'", "nothing"),
            ("SELECT 'INSERT INTO pg.public.t'", "nothing"),
            ("SELECT 1 -- INSERT INTO pg.public.t", "nothing"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "nothing"),
            ("CREATE VIEW pg.public.v AS SELECT 1", "nothing"),
            ("CREATE OR REPLACE VIEW pg.public.v AS SELECT 1", "nothing"),
            ("CREATE SCHEMA x", "nothing"),
            ("\"insert\" into x SELECT 1", "nothing"),
            ("INSERT OVERWRITE TABLE x SELECT 1", "nothing"),
            ("INSERT INTO a.b.c.d SELECT 1", "nothing"),
            ("INSERT INTO \"\" SELECT 1", "nothing"),
            ("INSERT INTO .x SELECT 1", "nothing"),
            ("INSERT INTO", "nothing"),
            ("", "nothing"),
            ("/* never closed INSERT INTO a.b.c SELECT 1", "nothing"),
            ("DELETE FROM pg.public.t", "nothing"),
        ] {
            assert_eq!(told(text), wanted, "{text}");
        }
    }

    #[test]
    fn of_a_beginning_nothing_is_told_that_the_rest_could_change() {
        for whole in [
            "/* why */ -- so\n INSERT INTO \"pg\".public.orders SELECT 1",
            "CREATE TABLE IF NOT EXISTS pg.public.orders (a, b) AS SELECT 1, 2",
            "EXPLAIN ANALYZE MERGE INTO pg.public.orders USING x ON true WHEN MATCHED THEN DELETE",
            "EXECUTE IMMEDIATE 'INSERT INTO pg.public.orders SELECT 1'",
            "EXPLAIN ANALYZE SELECT 1",
            "CREATE VIEW x AS SELECT 1",
        ] {
            let truth = read(whole, true);
            for cut in 0..whole.len() {
                let told = read(&whole[..cut], false);
                assert!(told == truth || told == Writes::Hidden, "{:?}: {told:?}", &whole[..cut]);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic_or_take_long() {
        let mut dice = fastrand::Rng::with_seed(3);
        let parts = [
            "INSERT", "INTO", "CREATE", "OR", "REPLACE", "TABLE", "IF", "AS", "EXPLAIN", "ANALYZE", "EXECUTE", "/*",
            "*/", "--", "\n", "\"", "'", ".", "(", ")", ";", "é", "\u{0}", " ", "x",
        ];
        for _ in 0..20_000 {
            let n = dice.usize(0..14);
            let noise: String = (0..n).map(|_| parts[dice.usize(..parts.len())]).collect::<Vec<_>>().join(" ");
            let _ = (read(&noise, true), read(&noise, false));
        }
        for long in ["(", "\"\"", "/**/", "--\n", "a.", "' '", "EXPLAIN "] {
            let _ = read(&format!("CREATE TABLE x {}", long.repeat(100_000)), false);
            let _ = read(&long.repeat(100_000), false);
        }
    }
}
