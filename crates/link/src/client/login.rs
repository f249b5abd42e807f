//! How a client proves who it is, to meters of any maker: not at all, by a password (low-level security), or by
//! HLS-5 (GMAC) under the keys of security suite 0, 1 or 2.

use dlms_cosem_rs::security::{KeyRing, Secret, SecurityPolicy, SecuritySuite};
use meterseal_model::SystemTitle;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Association, DlmsKeys, Limits};

/// A connection to be opened: to whom, as whom, how protected.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The client's address, which stands for its role ([`meterseal_model::Role::client_address`] at our meters).
    pub client_address: u16,
    /// The logical device addressed; the management logical device is 1 (IEC 62056-46).
    pub server_address: u16,
    /// The system title that the meter must state (and prove, with HLS-5); `None` takes whatever it states.
    pub meter: Option<SystemTitle>,
    /// How the client logs in.
    pub login: Login,
    /// Whether the meter may push to this association; where it does, fetch with `notification`.
    pub pushes: bool,
    /// Time and size limits.
    pub limits: Limits,
}

/// How the client logs in.
#[derive(Clone, Debug)]
pub enum Login {
    /// Not at all: the public client, nothing ciphered.
    Public,
    /// Low-level security: the password goes over the line as it is, nothing is ciphered.
    Password(Password),
    /// HLS-5: both sides prove that they hold the key; everything is authenticated and encrypted.
    Gmac(Gmac),
}

/// What HLS-5 needs.
#[derive(Clone, Debug)]
pub struct Gmac {
    /// The client's own system title.
    pub client_title: SystemTitle,
    /// Suite and global keys.
    pub keys: GlobalKeys,
    /// As [`Association::invocation_counter`].
    pub invocation_counter: u32,
    /// As [`Association::last_response_counter`].
    pub last_response_counter: u32,
    /// As [`Association::last_push_counter`].
    pub last_push_counter: u32,
}

/// A security suite (IEC 62056-5-3): 0 and 1 encrypt with AES-128, which this project's own meters do not accept; 2
/// with AES-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-GCM-128.
    Zero,
    /// AES-GCM-128; differs from suite 0 in the asymmetric half, which HLS-5 does not use.
    One,
    /// AES-GCM-256.
    Two,
}

impl Suite {
    /// The suite with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Zero, Self::One, Self::Two].into_iter().find(|suite| suite.number() == number)
    }

    /// 0, 1 or 2.
    pub const fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Length of each of its keys, bytes.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Zero | Self::One => 16,
            Self::Two => 32,
        }
    }

    const fn codec(self) -> SecuritySuite {
        match self {
            Self::Zero => SecuritySuite::Suite0,
            Self::One => SecuritySuite::Suite1,
            Self::Two => SecuritySuite::Suite2,
        }
    }
}

/// The global unicast encryption key and the authentication key of a meter and role. Wiped when dropped, never
/// printed.
#[derive(Clone)]
pub struct GlobalKeys {
    suite: Suite,
    /// Encryption key, then authentication key; each begins with [`Suite::key_bytes`] bytes that count.
    keys: Zeroizing<[[u8; 32]; 2]>,
}

impl GlobalKeys {
    /// Keys for a suite.
    ///
    /// # Errors
    /// [`LoginError::KeyLength`] when a key has another length than the suite's.
    pub fn new(suite: Suite, encryption: &[u8], authentication: &[u8]) -> Result<Self, LoginError> {
        let mut keys = Zeroizing::new([[0; 32]; 2]);
        for (place, key) in keys.iter_mut().zip([encryption, authentication]) {
            if key.len() != suite.key_bytes() {
                return Err(LoginError::KeyLength {
                    suite: suite.number(),
                    expected: suite.key_bytes(),
                    found: key.len(),
                });
            }
            place[..key.len()].copy_from_slice(key);
        }
        Ok(Self { suite, keys })
    }

    /// Reads keys from text: hexadecimal digits, the encryption key and then the authentication key, with or without
    /// space between.
    ///
    /// # Errors
    /// [`LoginError::NotHexadecimal`], [`LoginError::KeyLength`].
    pub fn from_hex(suite: Suite, text: &str) -> Result<Self, LoginError> {
        // Room for more digits than any suite has, so that what is too long is told and not cut.
        let mut bytes = Zeroizing::new([0u8; 2 * 32 + 1]);
        let mut digits = 0usize;
        for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
            let digit = letter.to_digit(16).ok_or(LoginError::NotHexadecimal)?;
            if let Some(byte) = bytes.get_mut(digits / 2) {
                *byte = *byte << 4 | digit as u8;
            }
            digits += 1;
        }
        let length = suite.key_bytes();
        if digits != 4 * length {
            return Err(LoginError::KeyLength {
                suite: suite.number(),
                expected: length,
                found: digits.div_ceil(4),
            });
        }
        Self::new(suite, &bytes[..length], &bytes[length..2 * length])
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The encryption key, for whoever names a file after its fingerprint.
    pub fn encryption_key(&self) -> &[u8] {
        &self.keys[0][..self.suite.key_bytes()]
    }

    /// The same as the keys of our own meters; `None` for another suite than 2.
    pub fn suite_2(&self) -> Option<DlmsKeys> {
        let [encryption, authentication] = *self.keys;
        (self.suite == Suite::Two).then_some(DlmsKeys { encryption, authentication })
    }

    pub(super) fn ring(&self) -> KeyRing {
        let [encryption, authentication] = *self.keys;
        match self.suite {
            Suite::Two => KeyRing::new_256(encryption, authentication),
            Suite::Zero | Suite::One => KeyRing::new(half(encryption), half(authentication)),
        }
    }

    pub(super) fn policy(&self) -> SecurityPolicy {
        SecurityPolicy::authenticated_encrypted(self.suite.codec())
    }
}

impl std::fmt::Debug for GlobalKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GlobalKeys(suite {}, withheld)", self.suite.number())
    }
}

impl From<&DlmsKeys> for GlobalKeys {
    fn from(keys: &DlmsKeys) -> Self {
        Self { suite: Suite::Two, keys: Zeroizing::new([keys.encryption, keys.authentication]) }
    }
}

/// A password of low-level security. Wiped when dropped, never printed.
#[derive(Clone, Debug)]
pub struct Password(pub(super) Secret);

impl Password {
    /// A password of at most 64 bytes.
    ///
    /// # Errors
    /// [`LoginError::PasswordLength`].
    pub fn new(bytes: &[u8]) -> Result<Self, LoginError> {
        let length = bytes.len();
        if length == 0 {
            return Err(LoginError::PasswordLength { found: 0, limit: Secret::MAX_LEN });
        }
        Secret::new(bytes)
            .map(Self)
            .map_err(|_| LoginError::PasswordLength { found: length, limit: Secret::MAX_LEN })
    }
}

impl From<Association> for Opening {
    fn from(params: Association) -> Self {
        Self {
            client_address: params.role.client_address(),
            server_address: MANAGEMENT_LOGICAL_DEVICE,
            meter: Some(params.meter),
            login: Login::Gmac(Gmac {
                client_title: params.client_title,
                keys: GlobalKeys::from(&params.keys),
                invocation_counter: params.invocation_counter,
                last_response_counter: params.last_response_counter,
                last_push_counter: params.last_push_counter,
            }),
            pushes: true,
            limits: params.limits,
        }
    }
}

/// Keys or a password that cannot be used. No message holds any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LoginError {
    /// A key of another length.
    #[error(
        "security suite {suite} has two keys of {expected} bytes each, but these have {found}; check the suite, or the keys"
    )]
    KeyLength {
        /// The suite's number.
        suite: u8,
        /// Bytes of each of its keys.
        expected: usize,
        /// Bytes found, of each.
        found: usize,
    },
    /// Other letters than hexadecimal digits.
    #[error("keys are hexadecimal digits, the encryption key first, then the authentication key")]
    NotHexadecimal,
    /// An empty or too long password.
    #[error("a password has 1 to {limit} bytes, this one has {found}")]
    PasswordLength {
        /// Bytes found.
        found: usize,
        /// The most.
        limit: usize,
    },
}

/// The meter's management logical device (IEC 62056-46: server address 1).
pub const MANAGEMENT_LOGICAL_DEVICE: u16 = 1;

fn half(key: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_the_suites_length_only() {
        let digits = |count: usize| "a5".repeat(count);
        for (suite, bytes) in [(Suite::Zero, 16), (Suite::One, 16), (Suite::Two, 32)] {
            let keys =
                GlobalKeys::from_hex(suite, &format!("{}\n{}\n", digits(bytes), digits(bytes))).unwrap();
            assert_eq!(keys.encryption_key(), vec![0xA5; bytes]);
            for wrong in [0, 1, 2 * bytes - 1, 2 * bytes + 1, 500] {
                let error = GlobalKeys::from_hex(suite, &digits(wrong)).unwrap_err();
                assert!(matches!(error, LoginError::KeyLength { .. }), "{wrong}: {error}");
            }
        }
        assert_eq!(GlobalKeys::from_hex(Suite::Zero, "no key").unwrap_err(), LoginError::NotHexadecimal);
        let shown = format!("{:?}", GlobalKeys::from_hex(Suite::Zero, &digits(32)).unwrap());
        assert!(!shown.contains("a5") && !shown.contains("165"), "{shown}");
    }

    #[test]
    fn a_password_is_neither_empty_nor_endless_nor_shown() {
        assert!(Password::new(b"").is_err() && Password::new(&[b'x'; 65]).is_err());
        assert!(!format!("{:?}", Password::new(b"secret").unwrap()).contains("secret"));
    }
}
