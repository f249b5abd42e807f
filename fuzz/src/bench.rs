//! The meter under test: formatted, with a little history, opened anew for each input so that every finding stands
//! alone; and the ciphering by which inputs reach what lies behind it.

use std::sync::OnceLock;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use meterseal_model::Role;

use crate::support::client::{CLIENT_TITLE, Client, frame};
use crate::support::flash::RamFlash;
use crate::support::{OPEN, TestMeter, at, blank, keys_of, open, run};

/// When the meter is opened, milliseconds after noon.
pub const START_MS: i64 = 10_000;

/// A flash with registers, events and rows.
pub fn flash() -> RamFlash {
    static TEMPLATE: OnceLock<RamFlash> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(-920_000));
        run(&mut meter, -910_000, -909_000, 5.0, &OPEN);
        meter.pass(920_000);
        drop(meter);
        flash
    });
    template.clone()
}

/// A meter on this flash with a connection from somebody who may take every role.
pub fn meter(flash: &mut RamFlash) -> TestMeter<'_> {
    let mut meter = open(flash, at(START_MS));
    meter.connected();
    meter
}

/// Opens a role's association. `None`: the meter does not let it in, which the settings of an input may cause.
pub fn associate(meter: &mut TestMeter<'_>, role: Role, counter: u32) -> Option<Client> {
    let mut client = Client::new(role, &keys_of(role), counter, 1024);
    client.associate(meter).ok().map(|()| client)
}

/// Gives the meter bytes in pieces and takes all that it says, until it closes the connection. Every frame it sends is
/// whole.
pub fn feed(meter: &mut TestMeter<'_>, bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        let outcome = meter.receive(piece);
        frames.extend(take(meter));
        if outcome.is_err() {
            meter.disconnected();
            break;
        }
    }
    frames
}

/// All that the meter has to say now.
pub fn take(meter: &mut TestMeter<'_>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(link) = meter.link {
        match meter.meter.transmit(link) {
            Ok(Some(frame)) => {
                assert_eq!(frame[..2], [0, 1], "the wrapper's version");
                assert_eq!(usize::from(u16::from_be_bytes([frame[6], frame[7]])), frame.len() - 8);
                frames.push(frame);
                assert!(frames.len() < 10_000, "the meter does not stop talking");
            }
            Ok(None) => break,
            Err(_) => meter.disconnected(),
        }
    }
    frames
}

/// Whatever has been before: the next connection's public client reads the meter's name.
pub fn still_serves(meter: &mut TestMeter<'_>) {
    meter.connected();
    let mut client = associate(meter, Role::Public, 0).expect("the public may always come");
    client.get(meter, 1, meterseal_model::Obis::LOGICAL_DEVICE_NAME, 2);
    meter.disconnected();
}

/// A role out of a byte.
pub fn role(byte: u8) -> Role {
    Role::ALL[usize::from(byte) % Role::ALL.len()]
}

/// The form of a ciphered message.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// The service's own tag, global key.
    Service(u8),
    /// General-glo-ciphering with this system title.
    General([u8; 8]),
}

/// Ciphers a message as a client of this role (IEC 62056-5-3: security control, counter, AES-256-GCM with 12 bytes of tag).
pub fn cipher(role: Role, form: Form, control: u8, counter: u32, plain: &[u8]) -> Vec<u8> {
    let keys = keys_of(role);
    let title = match form {
        Form::Service(_) => CLIENT_TITLE,
        Form::General(title) => title,
    };
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&title);
    nonce[8..].copy_from_slice(&counter.to_be_bytes());
    let mut associated = vec![control];
    associated.extend_from_slice(&keys.authentication);
    let mut text = plain.to_vec();
    let cipher = AesGcm::<Aes256, U12, U12>::new(&keys.encryption.into());
    let tag = cipher
        .encrypt_in_place_detached(Nonce::from_slice(&nonce), &associated, &mut text)
        .expect("a message is short");
    let mut apdu = match form {
        Form::Service(tag) => vec![tag],
        Form::General(title) => [&[0xDB, 8][..], &title].concat(),
    };
    let length = 5 + text.len() + tag.len();
    match length {
        0..0x80 => apdu.push(length as u8),
        0x80..0x100 => apdu.extend_from_slice(&[0x81, length as u8]),
        _ => apdu.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    apdu.push(control);
    apdu.extend_from_slice(&counter.to_be_bytes());
    apdu.extend_from_slice(&text);
    apdu.extend_from_slice(&tag);
    frame(role, &apdu)
}

/// Authenticated and encrypted, suite 2.
pub const PROTECTED: u8 = 0x32;

/// Takes an input apart. Every input has a meaning: what is missing is zero.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().map_or((0, &[][..]), |(byte, rest)| (*byte, rest));
        self.0 = rest;
        byte
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A length byte, or two after 255, and as many bytes.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            255 => usize::from(self.word()),
            length => usize::from(length),
        };
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
