//! `landfall seeds`: the rows that canary queries are computed from, in SQL, for a seed table filled by hand.

use std::io::{self, Write};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::exit::YES;
use crate::{canary::Sample, platform::http_job::Sql};

/// Prints the seeds of samples in SQL: `CREATE TABLE landfall_seed AS` what it says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose SQL.
    #[arg(long, value_enum)]
    dialect: Name,
    /// How many rows; samples of as many or fewer can be computed from them.
    #[arg(long, value_name = "N", default_value_t = Sample::DEFAULT_ROWS)]
    rows: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Name {
    /// PostgreSQL.
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
    /// Trino, Presto, Athena.
    Trino,
    /// Spark and Hive.
    Spark,
}

/// `landfall seeds`.
pub fn seeds(args: &Args) -> Result<u8> {
    ensure!((1..=Sample::MOST_ROWS).contains(&args.rows), "a sample has 1 to {} rows", Sample::MOST_ROWS);
    let sql = match args.dialect {
        Name::PostgreSql => Sql::PostgreSql,
        Name::MySql => Sql::MySql,
        Name::Trino => Sql::Trino,
        Name::Spark => Sql::Spark,
    };
    writeln!(io::stdout(), "{}", sql.seeds(Sample::of(args.rows)))?;
    Ok(YES)
}
