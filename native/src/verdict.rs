//! Verdicts on messages, numbered as in the port.

/// What became of one message (`Verdict` of the port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok = 0,
    Mismatch = 1,
    BeforeSnapshot = 2,
    Unverifiable = 3,
    Malformed = 4,
}

/// Why a message is unverifiable: number and name of the port's `Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    None = 0,
    NoChecksum = 1,
    Precision = 2,
    AfterGap = 3,
    TooManyOrders = 4,
    TooManySymbols = 5,
    TooLarge = 6,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoChecksum => "no_checksum",
            Self::Precision => "precision",
            Self::AfterGap => "after_gap",
            Self::TooManyOrders => "too_many_orders",
            Self::TooManySymbols => "too_many_symbols",
            Self::TooLarge => "too_large",
        }
    }
}

/// `MessageKind.UNREADABLE` of the port.
pub const UNREADABLE: u8 = 2;

/// A verdict, and the reason of one that is `Unverifiable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub reason: Reason,
}

impl Outcome {
    pub const fn of(verdict: Verdict) -> Self {
        Self { verdict, reason: Reason::None }
    }

    pub const fn unverifiable(reason: Reason) -> Self {
        Self { verdict: Verdict::Unverifiable, reason }
    }
}

/// The checksum that a message states and that of the book; -1: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    pub expected: i64,
    pub computed: i64,
}

impl Checksums {
    pub const NONE: Self = Self::expected(-1);

    /// Stated, but nothing to compare it with.
    pub const fn expected(expected: i64) -> Self {
        Self { expected, computed: -1 }
    }
}
