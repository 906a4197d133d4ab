//! Presto's and Hive's SQL as SQLite understands it: a few rewrites, enough for the queries that
//! people try first. What it does not know goes through unchanged.

use super::{
    QueryError,
    token::{Kind, Token, tokens},
};

/// Whose SQL a job speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `"x"` is a text, backslashes escape.
    Hive,
    /// Presto and Trino: `"x"` is a name.
    Presto,
}

/// A statement, split into what the fence runs and what the warehouse does with the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// Rows are the answer.
    Read(Sql),
    /// `INSERT INTO t [(columns)] query`, or `INSERT OVERWRITE`.
    Insert { table: Name, columns: Vec<String>, overwrite: bool, query: Sql },
    /// `CREATE TABLE [IF NOT EXISTS] t AS query`.
    CreateAs { table: Name, if_absent: bool, query: Sql },
    /// `DROP TABLE [IF EXISTS] t`.
    Drop { table: Name, if_there: bool },
    /// `DELETE FROM t WHERE …`; the query finds the numbers of its rows.
    Delete { table: Name, rows: Sql },
}

/// A table's name as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) database: Option<String>,
    pub(super) table: String,
}

/// A query for SQLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sql {
    pub(super) text: String,
    /// Names that stand before a dot: databases, or aliases of tables.
    pub(super) qualifiers: Vec<String>,
    /// Every quoted name: a column of that name was named so on purpose.
    pub(super) quoted: Vec<String>,
}

/// Reads a statement.
pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Statement, QueryError> {
    let mut tokens = tokens(text, dialect)?;
    while tokens.last().is_some_and(|token| token.is(";")) {
        tokens.pop();
    }
    if tokens.iter().any(|token| token.is(";")) {
        return Err(QueryError::Refused("one statement at a time".to_owned()));
    }
    let Some(first) = tokens.first() else {
        return Err(QueryError::Refused("the query is empty".to_owned()));
    };
    let refuse = || Err(QueryError::Refused(format!("cannot read this {} statement", tokens[0].text)));
    let mut rest = Reader { tokens: &tokens, at: 1 };
    match first.text.to_ascii_lowercase().as_str() {
        "select" | "with" | "values" | "(" => Ok(Statement::Read(sql(tokens)?)),
        "insert" => {
            let overwrite = rest.take("overwrite");
            if !overwrite && !rest.take("into") {
                return refuse();
            }
            rest.take("table");
            let Some(table) = rest.table() else { return refuse() };
            let columns = rest.columns();
            Ok(Statement::Insert { table, columns, overwrite, query: sql(rest.rest())? })
        }
        "create" => {
            if !rest.take("table") {
                return Err(QueryError::Fenced(head(&tokens)));
            }
            let if_absent = rest.take("if") && rest.take("not") && rest.take("exists");
            let Some(table) = rest.table() else { return refuse() };
            if !rest.take("as") {
                return refuse();
            }
            Ok(Statement::CreateAs { table, if_absent, query: sql(rest.rest())? })
        }
        "drop" => {
            if !rest.take("table") {
                return Err(QueryError::Fenced(head(&tokens)));
            }
            let if_there = rest.take("if") && rest.take("exists");
            match rest.table() {
                Some(table) if rest.at == tokens.len() => Ok(Statement::Drop { table, if_there }),
                _ => refuse(),
            }
        }
        // Never a whole table by mistake; and Hive has no such statement.
        "delete" if dialect == Dialect::Presto && rest.take("from") => {
            let Some(table) = rest.table() else { return refuse() };
            if !rest.take("where") {
                return Err(QueryError::Fenced("it deletes without WHERE".to_owned()));
            }
            let found = ["SELECT", "rowid", "FROM"].map(Token::word);
            Ok(Statement::Delete { table, rows: sql([&found, &tokens[2..]].concat())? })
        }
        _ => Err(QueryError::Fenced(head(&tokens))),
    }
}

fn head(tokens: &[Token]) -> String {
    tokens.iter().take(3).map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|token| token.is(word));
        self.at += usize::from(there);
        there
    }

    fn name(&mut self) -> Option<String> {
        let name = self.tokens.get(self.at)?.name()?;
        self.at += 1;
        Some(name)
    }

    fn table(&mut self) -> Option<Name> {
        let first = self.name()?;
        if !self.take(".") {
            return Some(Name { database: None, table: first });
        }
        Some(Name { database: Some(first), table: self.name()? })
    }

    /// `(a, b)` if that is what follows; `(SELECT …)` is not.
    fn columns(&mut self) -> Vec<String> {
        let before = self.at;
        let mut names = Vec::new();
        if self.take("(") {
            while let Some(name) = self.name() {
                names.push(name);
                if self.take(")") {
                    return names;
                }
                if !self.take(",") {
                    break;
                }
            }
        }
        self.at = before;
        Vec::new()
    }

    fn rest(&self) -> Vec<Token> {
        self.tokens[self.at..].to_vec()
    }
}

/// Deepest nesting of brackets. The rewrites look for the end of each, so that they take time with the
/// product of length and depth, where no clock can stop them; SQLite itself takes less than this.
const DEEPEST: usize = 200;
/// Most derived tables that name their columns: each makes the whole query longer, and SQLite joins 64.
const MOST_DERIVED: usize = 200;

fn check_depth(tokens: &[Token]) -> Result<(), QueryError> {
    let mut depth = 0usize;
    for token in tokens {
        if token.is("(") || token.is("[") {
            depth += 1;
        } else if token.is(")") || token.is("]") {
            depth = depth.saturating_sub(1);
        }
        if depth > DEEPEST {
            return Err(QueryError::Refused(format!("brackets are nested deeper than {DEEPEST}")));
        }
    }
    Ok(())
}

/// Rewrites a query for SQLite.
fn sql(tokens: Vec<Token>) -> Result<Sql, QueryError> {
    match tokens.first() {
        Some(first) if ["select", "with", "values", "("].iter().any(|word| first.is(word)) => {}
        other => {
            let found = other.map_or("nothing", |token| token.text.as_str());
            return Err(QueryError::Refused(format!("a query was expected, found {found}")));
        }
    }
    check_depth(&tokens)?;
    let qualifiers = tokens
        .windows(2)
        .filter(|pair| pair[1].is("."))
        .filter_map(|pair| pair[0].name())
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let quoted = tokens.iter().filter(|token| token.kind == Kind::Quoted).filter_map(Token::name).collect();
    let tokens = derived_tables(unnest(arrays(casts(words(tokens)))))?;
    let mut text = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let tight = token.is(".") || at == 0 || tokens[at - 1].is(".");
        if !tight {
            text.push(' ');
        }
        text.push_str(&token.text);
    }
    Ok(Sql { text, qualifiers, quoted })
}

/// `IF(` is `IIF(`, `APPROX_DISTINCT(x)` is `COUNT(DISTINCT x)`, `DATE '…'` is the text.
fn words(tokens: Vec<Token>) -> Vec<Token> {
    let mut out = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        let call = next.is_some_and(|next| next.is("("));
        if token.is("if") && call {
            out.push(Token::word("iif"));
        } else if out.last().is_some_and(|last: &Token| last.is("(")) && at >= 2 && tokens[at - 2].is("approx_distinct")
        {
            out.push(Token::word("DISTINCT"));
            out.push(token.clone());
        } else if token.is("approx_distinct") && call {
            out.push(Token::word("COUNT"));
        } else if (token.is("date") || token.is("timestamp")) && next.is_some_and(|next| next.kind == Kind::Text) {
            // The literal's word says nothing to SQLite; its text does.
        } else {
            out.push(token.clone());
        }
    }
    out
}

/// The index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is("(") || token.is("[") {
            depth += 1;
        } else if token.is(")") || token.is("]") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// Type names that SQLite would read as numbers become `TEXT`.
fn casts(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    // Of each open bracket whether it is a cast's, and where its `AS` stands.
    let mut open: Vec<(bool, Option<usize>)> = Vec::new();
    for token in tokens {
        if token.is("(") || token.is("[") {
            let last = out.last_mut().filter(|last| token.is("(") && (last.is("cast") || last.is("try_cast")));
            open.push((last.is_some(), None));
            if let Some(cast) = last {
                *cast = Token::word("CAST");
            }
        } else if token.is("as") {
            if let Some((true, r#as)) = open.last_mut() {
                *r#as = Some(out.len());
            }
        } else if (token.is(")") || token.is("]"))
            && let Some((true, Some(r#as))) = open.pop()
            && let Some(kind) = out.get(r#as + 1)
        {
            let kind = match kind.text.to_ascii_lowercase().as_str() {
                "bigint" | "int" | "integer" | "smallint" | "tinyint" | "long" | "boolean" => "INTEGER",
                "double" | "float" | "real" => "REAL",
                "varbinary" | "binary" => "BLOB",
                _ => "TEXT",
            };
            out.truncate(r#as + 1);
            out.push(Token::word(kind));
        }
        out.push(token);
    }
    out
}

/// `ARRAY[…]` is `json_array(…)`.
fn arrays(tokens: Vec<Token>) -> Vec<Token> {
    let mut out = tokens;
    let mut at = 0;
    while at + 1 < out.len() {
        let array = out[at].is("array") && out[at + 1].is("[");
        if let Some(close) = array.then(|| closing(&out, at + 1)).flatten() {
            out[at] = Token::word("json_array");
            out[at + 1] = Token::symbol("(");
            out[close] = Token::symbol(")");
        }
        at += 1;
    }
    out
}

/// `UNNEST(x)` is a read of `x` as JSON.
fn unnest(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    // Of each open bracket whether it is one of ours.
    let mut open: Vec<bool> = Vec::new();
    for token in tokens {
        if token.is("(") || token.is("[") {
            let ours = token.is("(") && out.last().is_some_and(|last| last.is("unnest"));
            if ours {
                out.pop();
                out.push(Token::symbol("("));
                out.extend(["SELECT", "value", "FROM", "json_each"].map(Token::word));
            }
            open.push(ours);
        } else if (token.is(")") || token.is("]")) && open.pop() == Some(true) {
            out.push(Token::symbol(")"));
        }
        out.push(token);
    }
    out
}

/// `(query) AS t(a, b)` is `(WITH t(a, b) AS (query) SELECT * FROM t) AS t`.
fn derived_tables(tokens: Vec<Token>) -> Result<Vec<Token>, QueryError> {
    let mut out = tokens;
    let (mut at, mut found) = (0, 0);
    while at + 1 < out.len() {
        let query = out[at].is("(") && ["select", "values", "with", "("].iter().any(|word| out[at + 1].is(word));
        if let Some(close) = query.then(|| closing(&out, at)).flatten() {
            let mut after = Reader { tokens: &out, at: close + 1 };
            after.take("as");
            let name_at = after.at;
            if let Some(name) = after.name() {
                let columns = after.columns();
                let is_table = !columns.is_empty() && !KEYWORDS.contains(&name.as_str());
                if is_table {
                    found += 1;
                    if found > MOST_DERIVED {
                        return Err(QueryError::Refused(format!("more than {MOST_DERIVED} derived tables")));
                    }
                    let (end, name) = (after.at, out[name_at].clone());
                    let list: Vec<Token> = out[name_at + 1..end].to_vec();
                    let body: Vec<Token> = out[at..=close].to_vec();
                    let mut new = vec![Token::symbol("("), Token::word("WITH"), name.clone()];
                    new.extend(list);
                    new.push(Token::word("AS"));
                    new.extend(body);
                    new.extend(["SELECT", "*", "FROM"].map(Token::word));
                    new.push(name.clone());
                    new.push(Token::symbol(")"));
                    new.push(Token::word("AS"));
                    new.push(name);
                    let body_at = at + 3 + (end - name_at - 1) + 1;
                    out.splice(at..end, new);
                    at = body_at;
                }
            }
        }
        at += 1;
    }
    Ok(out)
}

/// Words that may follow a query in brackets and be followed by a bracket, and are no alias.
const KEYWORDS: [&str; 12] =
    ["on", "using", "in", "and", "or", "union", "except", "intersect", "where", "values", "over", "filter"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dialect: Dialect) -> String {
        match parse(text, dialect) {
            Ok(Statement::Read(sql)) => sql.text,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn types_that_sqlite_would_read_as_numbers_become_text() {
        let presto = |text| read(text, Dialect::Presto);
        assert_eq!(presto("select cast(1 as varchar)"), "select CAST ( 1 as TEXT )");
        assert_eq!(presto("SELECT try_cast(a AS decimal(38, 2)) FROM t"), "SELECT CAST ( a AS TEXT ) FROM t");
        assert_eq!(presto("SELECT cast(cast(a AS string) AS bigint)"), "SELECT CAST ( CAST ( a AS TEXT ) AS INTEGER )");
    }

    #[test]
    fn a_derived_table_may_name_its_columns() {
        assert_eq!(
            read("SELECT * FROM (VALUES (1, 'a')) AS t(id, name)", Dialect::Presto),
            "SELECT * FROM ( WITH t ( id , name ) AS ( VALUES ( 1 , 'a' ) ) SELECT * FROM t ) AS t"
        );
        let plain = "SELECT a FROM ( SELECT 1 AS a ) t WHERE a IN ( 1 , 2 )";
        assert_eq!(read(plain, Dialect::Presto), plain);
    }

    #[test]
    fn hive_texts_have_backslashes_and_double_quotes() {
        assert_eq!(read(r#"select "it's", 'a\'b\\c\n'"#, Dialect::Hive), "select 'it''s' , 'a''b\\c\n'");
        assert_eq!(read(r#"select "a""b", 'it''s\'"#, Dialect::Presto), r#"select "a""b" , 'it''s\'"#);
    }

    #[test]
    fn comments_and_semicolons_at_the_end_go_but_only_one_statement_passes() {
        assert_eq!(read("-- @TD engine_version: 350\nselect 1 /* one */ ;;", Dialect::Presto), "select 1");
        assert!(parse("select 1; select 2", Dialect::Presto).is_err());
        assert!(parse("select ';'", Dialect::Presto).is_ok());
    }

    #[test]
    fn broken_texts_are_refused_without_a_panic() {
        for text in [
            "",
            ";",
            "'",
            "\"",
            "`",
            "/*",
            "select 'a",
            "(",
            "select cast(",
            "insert",
            "create table",
            "drop",
            "select cast(a as)",
            "select * from (values",
            "\u{1F426}",
            "select 1e",
            "select 0x",
            "insert into t",
            "select unnest(",
            "select array[",
            "drop table a b",
            "\0",
            "select \\",
        ] {
            for dialect in [Dialect::Hive, Dialect::Presto] {
                let _ = parse(text, dialect);
            }
        }
        for text in ["ATTACH 'x' AS y", "PRAGMA user_version", "vacuum", "create view v as select 1", "delete from t"] {
            assert!(matches!(parse(text, Dialect::Presto), Err(QueryError::Fenced(_))), "{text}");
        }
    }

    #[test]
    fn queries_made_to_be_slow_are_read_or_refused_at_once() {
        // Each took minutes when every bracket was looked for anew, or every rewrite moved the rest.
        let refused = [
            format!("select {}1{}", "(".repeat(400_000), ")".repeat(400_000)),
            format!("select {}", "cast(".repeat(190_000)),
            format!("select {}", "array[".repeat(160_000)),
            format!("select * from {}", "(select 1) as t(a), ".repeat(50_000)),
        ];
        for text in refused {
            assert!(matches!(parse(&text, Dialect::Presto), Err(QueryError::Refused(_))), "{}", &text[..30]);
        }
        for text in ["cast(1 as int), ", "unnest(a), ", "array[1], ", "(1), "] {
            let text = format!("select {}", text.repeat(1_000_000 / text.len()));
            assert!(parse(&text, Dialect::Presto).is_ok(), "{}", &text[..30]);
        }
    }

    #[test]
    fn writes_name_their_table_and_their_query() {
        let Ok(Statement::Insert { table, columns, overwrite, query }) =
            parse("INSERT INTO db.t (a, \"b\") SELECT 1, 2", Dialect::Presto)
        else {
            panic!("an insert");
        };
        assert_eq!((table.database.as_deref(), table.table.as_str(), overwrite), (Some("db"), "t", false));
        assert_eq!((columns, query.text.as_str()), (vec!["a".to_owned(), "b".to_owned()], "SELECT 1 , 2"));
    }
}
