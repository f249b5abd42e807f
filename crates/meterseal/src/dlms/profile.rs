//! `meterseal dlms ADDRESS profile`: rows of a profile by time or by entry, with names and units in the heading.

use std::io::Write;

use anyhow::{Context, Result, bail};
use meterseal_headend::words::names::{self, Target};
use meterseal_headend::words::show::{self, Scale};
use meterseal_headend::words::write as value;
use meterseal_link::client::{AccessError, CosemDateTime};
use meterseal_link::{ClientError, Value};
use meterseal_model::{Obis, UnixMillis};
use serde_json::json;

use super::session::Session;

/// Read rows of a profile (load profile, log): the newest, by time, or by entry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The profile, as for `get`
    #[arg(value_name = "OBJECT", default_value = "load-profile")]
    profile: Target,
    /// Rows from this time on (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = value::instant)]
    from: Option<UnixMillis>,
    /// Rows up to this time (RFC 3339) [default: the meter's newest]
    #[arg(long, value_name = "TIME", value_parser = value::instant, requires = "from")]
    to: Option<UnixMillis>,
    /// Rows by position, from 1, the oldest: FIRST-LAST
    #[arg(long, value_name = "RANGE", value_parser = entries, conflicts_with_all = ["from", "last"])]
    entries: Option<(u32, u32)>,
    /// The newest rows
    #[arg(long, value_name = "COUNT", default_value_t = 48, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    last: u32,
}

/// Rows in one request by entry. What does not fit even so is halved.
const PIECE: u32 = 64;

/// Rows printed at most.
const ROWS: usize = 1_000_000;

/// A captured attribute.
struct Column {
    class: u16,
    obis: Obis,
    attribute: i8,
    scale: Option<Scale>,
}

pub(crate) async fn run(
    session: &mut Session,
    arguments: &Args,
    as_json: bool,
    out: &mut impl Write,
) -> Result<bool> {
    let profile = arguments.profile.obis;
    let columns = columns(session, profile).await?;
    let rows = match (arguments.from, arguments.entries) {
        (Some(from), _) => {
            // A day ahead of this computer's clock: a meter's may run ahead, and "newest" means all there is.
            let to = match arguments.to {
                Some(to) => to,
                None => UnixMillis(now().0.max(from.0) + 86_400_000),
            };
            if to < from {
                bail!("--to is before --from");
            }
            by_time(session, profile, from, to).await?
        }
        (None, Some((first, last))) => by_entry(session, profile, first, last).await?,
        (None, None) => {
            let in_use = session.client().await?.get(PROFILE_GENERIC, profile, ENTRIES_IN_USE).await?;
            let in_use = in_use.as_u64().and_then(|count| u32::try_from(count).ok());
            let in_use = in_use.context("the meter does not say how many rows the profile has")?;
            let first = in_use.saturating_sub(arguments.last).saturating_add(1);
            if in_use == 0 { Vec::new() } else { by_entry(session, profile, first, in_use).await? }
        }
    };
    if as_json {
        print_json(out, profile, &columns, &rows)?
    } else {
        print_table(out, &columns, &rows)?
    }
    Ok(true)
}

async fn columns(session: &mut Session, profile: Obis) -> Result<Vec<Column>> {
    let captured = session
        .client()
        .await?
        .get(PROFILE_GENERIC, profile, CAPTURE_OBJECTS)
        .await
        .with_context(|| format!("the columns of {profile} cannot be read; is it a profile?"))?;
    let column = |value: &Value| match value.as_list()? {
        [class, obis, attribute, ..] => Some((
            u16::try_from(class.as_u64()?).ok()?,
            obis.as_obis()?,
            i8::try_from(attribute.as_i64()?).ok()?,
        )),
        _ => None,
    };
    let items: Option<Vec<_>> = captured.as_list().and_then(|list| list.iter().map(column).collect());
    let items = items.with_context(|| format!("the meter's list of columns of {profile} is none"))?;
    let scales = session.scales(&items).await?;
    Ok(items
        .into_iter()
        .zip(scales)
        .map(|((class, obis, attribute), scale)| Column { class, obis, attribute, scale })
        .collect())
}

/// Rows of a span of time. A span that the meter cannot answer at once is halved.
async fn by_time(
    session: &mut Session,
    profile: Obis,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<Vec<Value>>> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut spans = vec![(from, to)];
    while let Some((from, to)) = spans.pop() {
        let bound = |time| {
            CosemDateTime::from_unix(time)
                .map(|time| Value::Bytes(time.0.to_vec()))
                .context("a time out of range")
        };
        let clock = (CLOCK, Obis::CLOCK, 2);
        let read =
            session.client().await?.profile_by_range(profile, clock, bound(from)?, bound(to)?, ROWS).await;
        match read {
            Ok(more) if rows.len() + more.len() > ROWS => {
                bail!("more than {ROWS} rows; ask for a shorter time")
            }
            Ok(more) => rows.extend(more),
            Err(error) if is_too_long(&error) && to.0 - from.0 >= 2000 => {
                // On a whole second: a meter's times have no more, and no row may fall between the halves.
                let middle = UnixMillis((from.0 + (to.0 - from.0) / 2).div_euclid(1000) * 1000);
                spans.push((UnixMillis(middle.0 + 1000), to));
                spans.push((from, middle));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}

async fn by_entry(session: &mut Session, profile: Obis, first: u32, last: u32) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    let (mut from, mut piece) = (first, PIECE);
    while from <= last && rows.len() < ROWS {
        let to = from.saturating_add(piece - 1).min(last);
        match session.client().await?.profile_by_entry(profile, from, to, ROWS).await {
            Ok(more) if more.is_empty() => break,
            Ok(more) => {
                rows.extend(more);
                let Some(next) = to.checked_add(1) else { break };
                from = next;
            }
            Err(error) if is_too_long(&error) && piece > 1 => piece /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}

/// Whether less at once may work. A meter that cannot build so long an answer says "scope of access violated", or just
/// "other reason" (250).
fn is_too_long(error: &ClientError) -> bool {
    use AccessError::{Other, Selection};
    matches!(error, ClientError::AnswerTooLong | ClientError::Access(Selection | Other(250)))
}

fn print_table(out: &mut impl Write, columns: &[Column], rows: &[Vec<Value>]) -> Result<()> {
    let mut table = vec![columns.iter().map(heading).collect::<Vec<_>>()];
    table.extend(rows.iter().map(|row| {
        row.iter().enumerate().map(|(place, cell)| shown(cell, columns.get(place))).collect::<Vec<_>>()
    }));
    let width = table.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..width)
        .map(|place| {
            table.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in &table {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        writeln!(out, "{}", cells.join("  "))?;
    }
    writeln!(out, "{} rows", rows.len())?;
    Ok(())
}

fn heading(column: &Column) -> String {
    if column.class == CLOCK {
        return "time".to_owned();
    }
    match column.attribute {
        2 => names::short(column.obis),
        attribute => format!("{}/{attribute}", names::short(column.obis)),
    }
}

fn shown(cell: &Value, column: Option<&Column>) -> String {
    column
        .and_then(|column| column.scale)
        .map_or_else(|| show::text(cell), |scale| show::quantity(cell, scale))
}

fn print_json(out: &mut impl Write, profile: Obis, columns: &[Column], rows: &[Vec<Value>]) -> Result<()> {
    let columns_json: Vec<_> = columns
        .iter()
        .map(|column| {
            json!({
                "obis": column.obis.to_string(), "class": column.class, "attribute": column.attribute,
                "name": names::object(column.class, column.obis),
                "scaler": column.scale.map(|scale| scale.scaler),
                "unit": column.scale.map(|scale| show::unit(scale.unit)),
            })
        })
        .collect();
    let rows_json: Vec<Vec<_>> = rows
        .iter()
        .map(|row| {
            let cell = |(place, cell): (usize, &Value)| match columns.get(place) {
                Some(column) if column.class == CLOCK => json!(show::text(cell)),
                _ => show::json(cell),
            };
            row.iter().enumerate().map(cell).collect()
        })
        .collect();
    let document = json!({ "profile": profile.to_string(), "columns": columns_json, "rows": rows_json });
    writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    Ok(())
}

fn entries(text: &str) -> Result<(u32, u32), String> {
    let range =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    range
        .filter(|&(first, last): &(u32, u32)| 0 < first && first <= last)
        .ok_or_else(|| "write FIRST-LAST, for example 1-48".to_owned())
}

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// IEC 62056-6-2, Profile generic and Clock.
const PROFILE_GENERIC: u16 = 7;
const CAPTURE_OBJECTS: i8 = 3;
const ENTRIES_IN_USE: i8 = 7;
const CLOCK: u16 = 8;
