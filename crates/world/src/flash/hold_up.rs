//! What a meter lives on when its supply has gone: a capacitor, and what a chip's operations take out of it.

/// A capacitor between the warning that the supply fails and the voltage at which the regulator gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldUp {
    /// Its least capacitance over temperature and life, microfarads.
    pub microfarads: u32,
    /// Its voltage while the supply is there, millivolts.
    pub nominal_millivolts: u32,
    /// Its voltage when the supply's monitor warns, millivolts.
    pub warning_millivolts: u32,
    /// The voltage below which nothing runs, millivolts.
    pub drop_out_millivolts: u32,
    /// How much of its energy the regulator passes on, percent.
    pub efficiency_percent: u32,
    /// What processor and front end draw all the time, microwatts.
    pub idle_microwatts: u32,
}

impl HoldUp {
    /// The reference meter's: 6 800 µF, of which 20 % of tolerance and then 20 % of ageing are taken, on a 12 V rail
    /// whose monitor warns at 10 V, a regulator that works down to 5 V at 80 %, and 150 mW for processor and front end
    /// [design values, not measured].
    ///
    /// Dimensioned for the slowest chip and the worst moment: an erase of a sector has just begun (93.4 mJ), the meter's call
    /// goes on to its end (11 writes, at most 1.55 mJ each for a record of two pages, 0.85 mJ for one page), then come the
    /// last words (3.9 mJ). The calls of a simulated fortnight took 108.7 mJ at most (docs/figures.md); it holds 130.5 mJ.
    pub const REFERENCE: Self = Self {
        microfarads: 4_350,
        nominal_millivolts: 12_000,
        warning_millivolts: 10_000,
        drop_out_millivolts: 5_000,
        efficiency_percent: 80,
        idle_microwatts: 150_000,
    };

    /// What the meter can use of it after the warning, nanojoules.
    pub const fn nanojoules(&self) -> u64 {
        self.between(self.warning_millivolts, self.drop_out_millivolts)
    }

    /// How long it carries a meter that goes on working before the monitor warns, microseconds.
    pub const fn microseconds_to_warning(&self) -> u64 {
        self.between(self.nominal_millivolts, self.warning_millivolts) * 1_000 / self.idle_microwatts as u64
    }

    /// Half of capacitance times the difference of the squared voltages, as far as the regulator passes it on, nanojoules.
    const fn between(&self, from: u32, to: u32) -> u64 {
        let (from, to) = (from as u64, to as u64);
        // µF · mV² = pJ.
        let picojoules = self.microfarads as u64 * (from * from).saturating_sub(to * to) / 2;
        picojoules / 1_000 * self.efficiency_percent as u64 / 100
    }

    /// How long it lasts when nothing is written, microseconds.
    pub const fn microseconds(&self) -> u64 {
        // nJ / µW = ms.
        self.nanojoules() * 1_000 / self.idle_microwatts as u64
    }
}

/// What a chip's operations take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appetite {
    /// Bytes programmed at once.
    pub page_bytes: u32,
    /// Time to program a page, microseconds.
    pub program_microseconds: u32,
    /// Time to erase a sector, microseconds.
    pub erase_microseconds: u32,
    /// Power while it does either, beside the meter's own, microwatts.
    pub microwatts: u32,
    /// The processor's time for an operation: making the record, its checksum, reading it back, microseconds.
    pub processor_microseconds: u32,
}

impl Appetite {
    /// Typical serial NOR flash of 8 MiB: 0.4 ms a page of 256 bytes, 45 ms a sector of 4 KiB, 15 mA at 3.3 V [from memory of
    /// such chips' data sheets, not verified against one].
    pub const TYPICAL: Self = Self {
        page_bytes: 256,
        program_microseconds: 400,
        erase_microseconds: 45_000,
        microwatts: 50_000,
        processor_microseconds: 1_000,
    };

    /// The same chip at its limits: 3 ms, 400 ms, 25 mA [not verified].
    pub const WORST: Self = Self {
        program_microseconds: 3_000,
        erase_microseconds: 400_000,
        microwatts: 83_000,
        ..Self::TYPICAL
    };

    /// What writing so many bytes takes, nanojoules.
    pub const fn write(&self, bytes: usize, idle_microwatts: u32) -> u64 {
        self.energy(
            bytes.div_ceil(self.page_bytes as usize) as u64 * self.program_microseconds as u64,
            idle_microwatts,
        )
    }

    /// What erasing so many bytes takes, nanojoules.
    pub const fn erase(&self, bytes: usize, idle_microwatts: u32) -> u64 {
        self.energy(bytes.div_ceil(4096) as u64 * self.erase_microseconds as u64, idle_microwatts)
    }

    const fn energy(&self, microseconds: u64, idle_microwatts: u32) -> u64 {
        // µs · µW = pJ.
        let busy = microseconds * (self.microwatts as u64 + idle_microwatts as u64);
        (busy + self.processor_microseconds as u64 * idle_microwatts as u64) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_meters_capacitor_pays_for_an_erase_under_way_and_the_last_words() {
        let hold_up = HoldUp::REFERENCE;
        // ½ · 4 350 µF · (100 − 25) V² · 80 %, and that at 150 mW.
        assert_eq!(hold_up.nanojoules(), 130_500_000);
        assert_eq!(hold_up.microseconds(), 870_000);
        // ½ · 4 350 µF · (144 − 100) V² · 80 % at 150 mW.
        assert_eq!(hold_up.microseconds_to_warning(), 510_400);
        let idle = hold_up.idle_microwatts;
        let worst = Appetite::WORST;
        let last_words = 2 * worst.write(512, idle) + worst.write(128, idle);
        assert_eq!(last_words, 3_945_000);
        // What a call writes at most: ends of a billing period, an interval, a day and a second, each with its leaf.
        let call = 5 * worst.write(512, idle) + 10 * worst.write(256, idle);
        let needed = worst.erase(4096, idle) + call + last_words;
        assert!(needed < hold_up.nanojoules() * 9 / 10, "{needed} nJ");
        // A second erase is beyond it: why sectors are erased ahead, one a call.
        assert!(needed + worst.erase(4096, idle) > hold_up.nanojoules());
    }
}
