//! Finds the parts of a recording: `.cfg` and `.dat` beside each other in any letter case, or the sections of a
//! `.cff`.

use super::lines::clip;
use super::{Config, DataFormat, Error, text};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A configuration's text and where the data lie.
pub(super) struct Located {
    pub(super) config_text: String,
    pub(super) config_path: String,
    pub(super) data: Data,
}

/// Where the data lie.
#[derive(Clone, Debug)]
pub(super) struct Data {
    path: PathBuf,
    /// For messages.
    pub(super) name: String,
    /// Bytes before the first row.
    offset: u64,
    /// Bytes from there, to the file's end.
    pub(super) bytes: u64,
    /// In a single file, what its heading says about the data.
    heading: Option<(usize, DataFormat)>,
}

/// A configuration is never larger: 100 000 channels with long names are 8 MB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

pub(super) fn locate(path: &Path) -> Result<Located, Error> {
    let name = path.display().to_string();
    let file = open(path)?;
    let metadata = file.metadata().map_err(|source| Error::Io { path: name.clone(), source })?;
    if !metadata.is_file() {
        return Err(not_comtrade(&name, "it is no regular file"));
    }
    if metadata.len() == 0 {
        return Err(Error::Empty { path: name });
    }
    match extension(path).as_str() {
        "cff" => single_file(path, file, metadata.len()),
        "cfg" => {
            let config = read_config(path)?;
            if heading(&config).is_some() {
                return single_file(path, file, metadata.len());
            }
            let data = data(partner(path, "dat")?)?;
            Ok(Located { config_text: config, config_path: name, data })
        }
        "dat" => {
            let config = partner(path, "cfg")?;
            Ok(Located {
                config_text: read_config(&config)?,
                config_path: config.display().to_string(),
                data: data(path.to_owned())?,
            })
        }
        _ => Err(not_comtrade(&name, "its name ends in none of .cfg, .dat and .cff")),
    }
}

impl Data {
    /// A reader at the first row, which gives the data and no more.
    pub(super) fn reader(&self) -> Result<BufReader<std::io::Take<File>>, Error> {
        let mut file = open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset)).map_err(|source| self.io(source))?;
        Ok(BufReader::with_capacity(1 << 18, file.take(self.bytes)))
    }

    pub(super) fn io(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.name.clone(), source }
    }

    /// A single file says twice how its data are stored.
    pub(super) fn check_format(&self, config: &Config) -> Result<(), Error> {
        let Some((line, format)) = self.heading else { return Ok(()) };
        let binary = |format| format != DataFormat::Ascii;
        if binary(format) != binary(config.format) {
            return Err(Error::Config {
                path: self.name.clone(),
                line,
                expected: format!("{} data, as the configuration says", config.format.name()),
                found: format.name().to_owned(),
            });
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Io { path: path.display().to_string(), source })
}

fn not_comtrade(path: &str, why: &str) -> Error {
    Error::NotComtrade { path: path.to_owned(), why: why.to_owned() }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn read_config(path: &Path) -> Result<String, Error> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let io = |source| Error::Io { path: name.clone(), source };
    open(path)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.is_empty() {
        return Err(Error::Empty { path: name });
    }
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(not_comtrade(&name, "a configuration of more than 16 MiB is none"));
    }
    Ok(text::decode(&bytes))
}

fn data(path: PathBuf) -> Result<Data, Error> {
    let name = path.display().to_string();
    let bytes = fs::metadata(&path).map_err(|source| Error::Io { path: name.clone(), source })?.len();
    if bytes == 0 {
        return Err(Error::Empty { path: name });
    }
    Ok(Data { path, name, offset: 0, bytes, heading: None })
}

/// The file beside `path` with the same name and this extension, in any letter case; the same case is best.
fn partner(path: &Path, wanted: &str) -> Result<PathBuf, Error> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries =
        fs::read_dir(folder).map_err(|source| Error::Io { path: folder.display().to_string(), source })?;
    let mut best: Option<(bool, PathBuf)> = None;
    for entry in entries.flatten() {
        let name = PathBuf::from(entry.file_name());
        let its_stem = name.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if extension(&name) != wanted || its_stem.to_lowercase() != stem.to_lowercase() {
            continue;
        }
        let exact = its_stem == stem;
        if best.as_ref().is_none_or(|(best_is_exact, best)| (exact, &name) > (*best_is_exact, best)) {
            best = Some((exact, name));
        }
    }
    let missing =
        || Error::MissingPartner { path: path.display().to_string(), wanted: format!("{stem}.{wanted}") };
    best.map(|(_, name)| folder.join(name)).ok_or_else(missing)
}

/// What follows `--- file type:` in a single file's heading line.
fn heading(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['\u{FEFF}', ' ']).lines().next()?.trim();
    let inner = line.strip_prefix("---")?.trim_start_matches('-').trim().trim_end_matches('-').trim();
    let prefix = "file type:";
    inner.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix))?;
    inner.get(prefix.len()..).map(str::trim)
}

/// Takes a single file apart. Sections come in any order, save that the data come last.
fn single_file(path: &Path, file: File, file_bytes: u64) -> Result<Located, Error> {
    let name = path.display().to_string();
    let io = |source| Error::Io { path: name.clone(), source };
    let mut reader = BufReader::new(file);
    let mut config: Option<Vec<u8>> = None;
    let mut in_config = false;
    let mut offset = 0u64;
    let mut line = Vec::new();
    for number in 1usize.. {
        line.clear();
        let read = (&mut reader)
            .take(MAX_CONFIG_BYTES - offset.min(MAX_CONFIG_BYTES))
            .read_until(b'\n', &mut line)
            .map_err(io)?;
        if read == 0 {
            break;
        }
        offset += read as u64;
        let start = &line[..line.len().min(200)];
        let start = String::from_utf8_lossy(start);
        let Some(kind) = heading(&start) else {
            if in_config && let Some(config) = &mut config {
                config.extend_from_slice(&line);
            }
            continue;
        };
        let kind = kind.to_ascii_uppercase();
        in_config = kind == "CFG";
        if in_config {
            // Line numbers in messages are those of the whole file.
            config = Some(vec![b'\n'; number]);
        }
        let Some(of_data) = kind.strip_prefix("DAT") else { continue };
        let (format, _length) = of_data.split_once(':').unwrap_or((of_data, ""));
        let format = DataFormat::from_name(format.trim()).ok_or_else(|| Error::UnknownFormat {
            path: name.clone(),
            line: number,
            found: clip(of_data.trim()),
        })?;
        let config = config.ok_or_else(|| not_comtrade(&name, "its data come before its configuration"))?;
        let bytes = file_bytes.saturating_sub(offset);
        if bytes == 0 {
            return Err(Error::Empty { path: format!("the DAT section of {name}") });
        }
        // The length in the heading is not needed: rows end where the configuration says or the file ends.
        let data = Data {
            path: path.to_owned(),
            name: name.clone(),
            offset,
            bytes,
            heading: Some((number, format)),
        };
        return Ok(Located { config_text: text::decode(&config), config_path: name, data });
    }
    Err(not_comtrade(&name, "a single-file recording has a line `--- file type: CFG ---` and one for DAT"))
}
