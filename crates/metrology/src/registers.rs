//! Energy registers: whole quanta of one nano-watt-hour and exact residues, with an encoding to store them.

/// The energy registers of a meter. They only ever grow, and wrap at 2⁶⁴ nWh (18.4 GWh; 30 years at three times 70 kW).
///
/// Direction is decided once a cycle: for the total on the sum of the phases, and for each phase on its own. So
/// `total_import − total_export` equals the sum of `import − export` over the phases, exactly and at any time, while
/// `sum_of_phase_imports` is larger than `total_import` where one phase exports while another imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// L1, L2, L3.
    pub phases: [PhaseEnergy; 3],
    /// Active energy in cycles whose phases together import.
    pub total_import_nanowatt_hours: u64,
    /// Active energy in cycles whose phases together export.
    pub total_export_nanowatt_hours: u64,
    /// Sum of the active energies that single phases imported.
    pub sum_of_phase_imports_nanowatt_hours: u64,
    /// Fundamental reactive energy of the phases together, by quadrant: I (P ≥ 0, Q ≥ 0), II (P < 0, Q ≥ 0), III (P < 0, Q < 0),
    /// IV (P ≥ 0, Q < 0).
    pub reactive_quadrants_nanovar_hours: [u64; 4],
    /// Apparent energy: arithmetic sum of the phases' `Vrms·Irms`, a window at a time.
    pub apparent_nanovoltampere_hours: u64,
    pub(crate) active_residues: [i128; 3],
    pub(crate) reactive_residues: [i128; 3],
    pub(crate) apparent_residues: [i128; 3],
}

/// The energy registers of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseEnergy {
    /// Active energy in cycles in which this phase imports.
    pub import_nanowatt_hours: u64,
    /// Active energy in cycles in which this phase exports.
    pub export_nanowatt_hours: u64,
    /// Fundamental reactive energy of this phase by its own quadrants I to IV.
    pub reactive_quadrants_nanovar_hours: [u64; 4],
}

impl Registers {
    /// The version of the stored form.
    pub const VERSION: u16 = 1;
    const PUBLIC: usize = 3 * 6 + 3 + 4 + 1;
    const RESIDUES: usize = 9;
    /// Bytes in the stored form.
    pub const ENCODED_LEN: usize = 2 + Self::PUBLIC * 8 + Self::RESIDUES * 16;

    /// Reactive energy of quadrants I and II: Q ≥ 0.
    pub fn reactive_import_nanovar_hours(&self) -> u64 {
        let [q1, q2, ..] = self.reactive_quadrants_nanovar_hours;
        q1.wrapping_add(q2)
    }

    /// Reactive energy of quadrants III and IV: Q < 0.
    pub fn reactive_export_nanovar_hours(&self) -> u64 {
        let [.., q3, q4] = self.reactive_quadrants_nanovar_hours;
        q3.wrapping_add(q4)
    }

    /// The stored form: version, registers, residues, all little-endian and of fixed size. It carries no checksum; what stores it adds one.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        let mut rest = &mut bytes[..];
        let mut put = |value: &[u8]| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(value.len());
            head.copy_from_slice(value);
            rest = tail;
        };
        put(&Self::VERSION.to_le_bytes());
        let mut copy = *self;
        copy.each_register(|value| put(&value.to_le_bytes()));
        copy.each_residue(|value| put(&value.to_le_bytes()));
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Another length or another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != Self::ENCODED_LEN {
            return Err(DecodeError::Length { found: bytes.len() });
        }
        let (version, mut rest) = bytes.split_at(2);
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != Self::VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let mut registers = Self::default();
        registers.each_register(|value| {
            if let Some((head, tail)) = rest.split_first_chunk() {
                *value = u64::from_le_bytes(*head);
                rest = tail;
            }
        });
        registers.each_residue(|value| {
            if let Some((head, tail)) = rest.split_first_chunk() {
                *value = i128::from_le_bytes(*head);
                rest = tail;
            }
        });
        Ok(registers)
    }

    /// Every register in the stored order.
    fn each_register(&mut self, mut visit: impl FnMut(&mut u64)) {
        for phase in &mut self.phases {
            visit(&mut phase.import_nanowatt_hours);
            visit(&mut phase.export_nanowatt_hours);
            phase.reactive_quadrants_nanovar_hours.iter_mut().for_each(&mut visit);
        }
        visit(&mut self.total_import_nanowatt_hours);
        visit(&mut self.total_export_nanowatt_hours);
        visit(&mut self.sum_of_phase_imports_nanowatt_hours);
        self.reactive_quadrants_nanovar_hours.iter_mut().for_each(&mut visit);
        visit(&mut self.apparent_nanovoltampere_hours);
    }

    /// Every residue in the stored order.
    fn each_residue(&mut self, visit: impl FnMut(&mut i128)) {
        self.active_residues
            .iter_mut()
            .chain(&mut self.reactive_residues)
            .chain(&mut self.apparent_residues)
            .for_each(visit);
    }
}

/// Why stored registers cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not [`Registers::ENCODED_LEN`] bytes.
    Length {
        /// The length found.
        found: usize,
    },
    /// Not [`Registers::VERSION`].
    Version {
        /// The version found.
        found: u16,
    },
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { found } => write!(
                f,
                "stored energy registers have {found} bytes, expected {}; read them from an intact copy",
                Registers::ENCODED_LEN
            ),
            Self::Version { found } => write!(
                f,
                "stored energy registers have format version {found}, this software reads {}; use the software that wrote them",
                Registers::VERSION
            ),
        }
    }
}

impl core::error::Error for DecodeError {}
