//! Who outside is told of alarms, and when a meter counts as silent: options of every command that runs a head-end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use meterseal_headend::deliveries::Receiver;
use zeroize::Zeroizing;

/// Options about alarms.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Alarms")]
pub(crate) struct AlarmOptions {
    /// Webhook that is told of everything that happens to an alarm: https://…, or http://… on the loopback (may be given
    /// several times)
    #[arg(long, value_name = "URL")]
    webhook: Vec<String>,
    /// File, for its owner only, with the secret that signs what webhooks are told [default: DATA/headend/webhook.key,
    /// made where it is missing]
    #[arg(long, value_name = "FILE", requires = "webhook")]
    webhook_secret: Option<PathBuf>,
    /// Syslog server that is told: tls://HOST[:6514], or on the loopback udp://HOST[:514] or tcp://HOST[:601] (may be
    /// given several times)
    #[arg(long, value_name = "ADDRESS")]
    syslog: Vec<String>,
    /// Certificates in PEM of the authorities that vouch for webhooks and syslog servers [default: the system's]
    #[arg(long, value_name = "FILE")]
    receiver_ca: Option<PathBuf>,
    /// Seconds of silence after which a meter's missing data are an alarm
    #[arg(long, value_name = "SECONDS", default_value_t = SILENT_AFTER, value_parser = clap::value_parser!(u64).range(2..=31 * 86_400))]
    silent_after: u64,
}

/// A load-profile interval.
const SILENT_AFTER: u64 = 900;

impl AlarmOptions {
    /// The receivers, each checked; `data` is the head-end's folder.
    pub(crate) fn receivers(&self, data: &Path) -> Result<Vec<Receiver>> {
        let authorities = self.receiver_ca.as_deref();
        let mut receivers = Vec::new();
        if !self.webhook.is_empty() {
            let secret = match &self.webhook_secret {
                Some(path) => path.clone(),
                None => own_secret(data)?,
            };
            for url in &self.webhook {
                receivers.push(Receiver::webhook(url, &secret, authorities)?);
            }
        }
        for address in &self.syslog {
            receivers.push(Receiver::syslog(address, authorities)?);
        }
        Ok(receivers)
    }

    /// After how long a meter is silent.
    pub(crate) fn silent_after(&self) -> Duration {
        Duration::from_secs(self.silent_after)
    }
}

/// The installation's own secret, 256 bits in hexadecimal digits; made when it is first needed.
fn own_secret(data: &Path) -> Result<PathBuf> {
    let path = data.join("webhook.key");
    if path.exists() {
        return Ok(path);
    }
    let failed = || format!("cannot write {}", path.display());
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut key[..]).context("the operating system gave no random numbers")?;
    let text: Zeroizing<String> = Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
    // Under another name first: a secret is there whole or not at all.
    let unfinished = data.join("webhook.key.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&unfinished, &path).with_context(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_webhook_s_secret_is_made_once_and_is_nobody_else_s() {
        let folder = tempfile::tempdir().unwrap();
        let options = AlarmOptions { webhook: vec!["http://127.0.0.1:1/".into()], ..Default::default() };
        assert_eq!(options.receivers(folder.path()).unwrap().len(), 1);
        let path = folder.path().join("webhook.key");
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!((first.len(), path.metadata().unwrap().permissions().mode() & 0o777), (64, 0o600));
        options.receivers(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn without_receivers_no_secret_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AlarmOptions::default().receivers(folder.path()).unwrap().is_empty());
        assert!(!folder.path().join("webhook.key").exists());
    }
}
